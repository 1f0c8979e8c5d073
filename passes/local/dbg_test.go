package local
import ("testing";"context";"github.com/k2cc/k2cc/bpf";"github.com/k2cc/k2cc/bpf/flow")
func TestDbg(t *testing.T){
 p := program{level:1, needs:"r1 r2", code:`r1 = *(u16 *)(r8 + 0)
r2 = *(u16 *)(r8 + 6)
*(u16 *)(r8 + 0) = r2
r2 = *(u16 *)(r8 + 8)
r3 = *(u16 *)(r8 + 2)
*(u16 *)(r8 + 8) = r3
*(u16 *)(r8 + 2) = r2
r2 = *(u16 *)(r8 + 10)
r3 = *(u16 *)(r8 + 4)
*(u16 *)(r8 + 10) = r3
*(u16 *)(r8 + 6) = r1
*(u16 *)(r8 + 4) = r2
r1 = *(u32 *)(r6 + 0)
r2 = 0`}
 w := p.window(t)
 var err error
 w.Facts, err = flow.ParseState("r0 = map_value?(b2239); r6 = map_value(b50); r7 = 1; r8 = packet(b15); [r10-8:4] = 0; [r10-4:4] = 0; written [r10-8:8]")
 if err != nil { t.Fatal(err) }
 a := attempt{p: New(), w: w, seen: make(map[string]bool), banned: make(map[ban]bool)}
 for _, s := range a.run(context.Background(), "") { t.Logf("%v\n%s", s.by, bpf.Format(s.code)) }
}
