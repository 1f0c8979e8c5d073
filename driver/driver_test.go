package driver

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// Input without an end is refused before memory is.
func TestOptOfInputWithoutEnd(t *testing.T) {
	for _, args := range [][]string{{"/dev/zero"}, {"-"}} {
		zero, err := os.Open("/dev/zero")
		if err != nil {
			t.Skip(err)
		}
		defer zero.Close()
		var out, errs bytes.Buffer
		d := newDriver(Streams{In: zero, Out: &out, Err: &errs})
		code := d.run(append([]string{"k2cc", "opt", "-o", "-"}, args...))
		if code != exitFailure || out.Len() > 0 || !strings.Contains(errs.String(), "larger than") {
			t.Errorf("%q: exit code %d, %d bytes, says %s", args, code, out.Len(), errs.String())
		}
	}
}

// What is said may quote names in objects.
func TestSayIsOneLineForTerminals(t *testing.T) {
	tests := []struct{ text, want string }{
		{"section maps: größer", "section maps: größer"},
		{" two\nlines\n", "two; lines"},
		{"a\tb", "a\tb"},
		{"section \x1b[2J\r\x00", `section \x1b[2J\x0d\x00`},
		{"\u0085", ""},
		{"a\u009b31m", `a\x9b31m`},
	}
	for _, test := range tests {
		var errs bytes.Buffer
		newDriver(Streams{Err: &errs}).say("%s", test.text)
		if got, want := errs.String(), "k2cc: "+test.want+"\n"; got != want {
			t.Errorf("%q: got %q, want %q", test.text, got, want)
		}
	}
}
