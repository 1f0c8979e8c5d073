package rules

import (
	"context"
	"os"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// prove asks the checker about a rule in every byte order in which it is said to
// hold, and is the worst of its answers.
func prove(t *testing.T, c *encode.Checker, r *Rule) encode.Verdict {
	t.Helper()
	var v encode.Verdict
	for _, big := range []bool{false, true} {
		if !r.Order.fits(big) {
			continue
		}
		w, code, err := r.Window(windows.Target{Level: bpf.V4, BigEndian: big, Confirmed: true})
		if err != nil {
			t.Fatal(err)
		}
		if v = c.Check(context.Background(), w, code); v.Outcome != encode.Proven {
			return v
		}
	}
	return v
}

// TestShipped proves every rule that comes with k2cc, for all registers,
// immediates and offsets.
func TestShipped(t *testing.T) {
	rules, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	c := encode.New(encode.Options{Resources: 20_000_000})
	for _, r := range rules {
		if v := prove(t, c, r); v.Outcome != encode.Proven {
			t.Errorf("%s: %v: %s\n%v", r.At, v.Outcome, v.Reason, r)
		}
		again, err := Parse("again", r.String())
		if err != nil || len(again) != 1 || again[0].String() != r.String() {
			t.Errorf("%s: %v: read again it is another rule:\n%v", r.At, err, r)
		}
	}
}

// TestWrong wants the proof to fail of rules that are wrong.
func TestWrong(t *testing.T) {
	text, err := os.ReadFile("testdata/wrong.rules")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := Parse("wrong.rules", string(text))
	if err != nil {
		t.Fatal(err)
	}
	c := encode.New(encode.Options{Resources: 20_000_000})
	for _, r := range rules {
		if v := prove(t, c, r); v.Outcome != encode.Refuted && v.Outcome != encode.Unsafe {
			t.Errorf("%s: %v: %s\n%v", r.At, v.Outcome, v.Reason, r)
		}
	}
}
