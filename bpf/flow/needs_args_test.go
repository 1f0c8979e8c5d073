package flow

import (
	"context"
	"testing"

	"github.com/k2cc/k2cc/bpf"
)

// What a callee reads is needed even where nothing has written it: what did may
// just have been taken out, by who relies on this to learn that it must not be.
func TestNeedsOfWhatWasTakenOut(t *testing.T) {
	for name, src := range map[string]string{
		"a helper's argument":                 "r6 = r1\nr0 = *(u16 *)skb[12]\nr1 = r6\nr2 = @1 ll\nr3 = r5\ncall 12\nr0 = 0\nexit",
		"an argument that is not known to be": "r6 = r1\nr0 = *(u16 *)skb[12]\nr1 = r6\nr2 = 5\nr3 = r5\ncall @5\nr0 = 0\nexit",
	} {
		t.Run(name, func(t *testing.T) {
			fn, _ := claims(t, src)
			fn.Context = bpf.ContextSKB
			_, needs, err := Both(context.Background(), fn, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if needs.After(0, 1).Regs[bpf.R5] == 0 {
				t.Error("R5 is not needed")
			}
		})
	}
}
