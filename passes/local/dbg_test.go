package local
import ("testing";"context";"github.com/k2cc/k2cc/bpf";"math/rand/v2")
func TestDbg(t *testing.T){
 p := program{level:4, needs:"r0 r3 r4", facts: "r3 = scalar[0,255]; r4 = scalar{0x0/0xffff0}; r5 = 8; [r10-8:8] = scalar; [r10-16:4] = scalar[0,255]; [r10-12:4] = scalar; written [r10-16:16]", code:"r5 |= -1\nr0 = *(u16 *)(r10 - 10)\nr3 >>= 48\nr3 &= r3\nif r0 > 16 goto L1"}
 w := p.window(t)
 a := attempt{p: New(), w: w, seen: make(map[string]bool), banned: make(map[ban]bool)}
 for _, s := range a.run(context.Background(), "") { t.Logf("%v\n%s", s.by, bpf.Format(s.code)) }
 rng := rand.New(rand.NewPCG(1,1))
 for range 1 { from := fits(randomState(rng), false); t.Log(from.Regs); e,_ := replay(w, w.Code, from); t.Log(e.state.Regs, e.taken)}
}
