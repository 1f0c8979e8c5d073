package driver

import (
	"bytes"
	"testing"
)

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
