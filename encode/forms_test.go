package encode

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/aclements/go-z3/z3"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/semantics"
	"github.com/k2cc/k2cc/windows"
)

// cornerOperands are numbers at which operations change their ways: the least
// and the greatest of 32 and 64 bits, and amounts around the widths.
var cornerOperands = []uint64{0, 1, ^uint64(0), 1 << 63, 1<<63 - 1, 1 << 31, 1<<31 - 1, 1<<32 - 1, 1 << 32, 31, 32, 33, 63, 64, 65}

// at is where the memory is that forms access.
const at = 0x5000_0000

// formRun is one instruction on terms, ready to be read for numbers.
type formRun struct {
	in    bpf.Instruction
	big   bool
	mc    *machine
	e     *entry
	point bpf.Register // the base of the access
}

// newFormRun executes an instruction on the checker's terms, or is nil where no
// window has it.
func newFormRun(t *testing.T, in bpf.Instruction, big bool) *formRun {
	t.Helper()
	f := &formRun{in: in, big: big, point: bpf.R9}
	switch {
	case in.IsLoad() && in.Op != bpf.LoadImm64, in.IsAtomic() && in.Imm == bpf.AtomicLoadAcq:
		f.point = in.Src
	case in.IsStore(), in.IsAtomic():
		f.point = in.Dst
	case in.IsALU() && !in.IsCast(), in.IsCondJump() && !in.IsMayGoto(), in.Op == bpf.LoadImm64 && in.Src == bpf.PseudoImm:
	default:
		return nil
	}
	w := &windows.Window{Fn: &bpf.Function{}, Code: []bpf.Instruction{in}}
	w.BigEndian, w.Level = big, bpf.V4
	for r := range w.Facts.Regs {
		w.Facts.Regs[r] = flow.Unknown(flow.KindScalar)
	}
	w.Facts.Regs[bpf.R10] = flow.Value{}
	state, err := flow.ParseState("")
	if err != nil {
		t.Fatal(err)
	}
	w.Facts.Regs[bpf.R10] = state.Regs[bpf.R10]
	w.Facts.Regs[f.point] = flow.Unknown(flow.KindMapValue)
	if f.e, err = newEntry(newGraph(), w); err != nil {
		t.Fatal(err)
	}
	f.mc = f.e.machine(w, nil, nil)
	if err := f.mc.run(w.Code); err != nil {
		t.Fatalf("%v: %v", in, err)
	}
	return f
}

// operandsOf is what the variables stand for: R0, the first and second operand,
// and the eight bytes in memory.
type operandsOf struct{ r0, dst, src, memory uint64 }

func (f *formRun) state(o operandsOf) *semantics.State {
	s := &semantics.State{Big: f.big}
	s.Regs[bpf.R0], s.Regs[bpf.R1], s.Regs[bpf.R2] = o.r0, o.dst, o.src
	s.Regs[f.point] = at - uint64(int64(f.in.Off))
	s.Write(at, 8, o.memory)
	return s
}

// variable is what a variable stands for in a state. What a 32-bit
// compare-and-exchange leaves open is zero.
func (f *formRun) variable(s *semantics.State, n *node) uint64 {
	for r := range f.e.regs {
		if f.e.regs[r].node == n {
			return s.Regs[r]
		}
	}
	if i, ok := f.e.mem.ofVar[n]; ok {
		return uint64(s.Byte(s.Regs[f.point] + uint64(f.e.mem.initial[i].addr.off)))
	}
	return 0
}

// agree wants the checker's terms, read by Z3 and by its own evaluation, to
// have the values that the interpreters leave behind.
func (f *formRun) agree(t *testing.T, s *solver, o operandsOf) {
	t.Helper()
	before, after := f.state(o), f.state(o)
	taken, err := after.Run([]bpf.Instruction{f.in})
	if err != nil {
		t.Fatalf("%v: %v", f.in, err)
	}
	s.terms, s.truths = map[*node]z3.BV{}, map[*node]z3.Bool{}
	for _, v := range f.e.g.vars {
		s.terms[v] = s.constant(f.variable(before, v), v.width)
	}
	own := newValuation(f.e.g, func(n *node) uint64 { return f.variable(before, n) })
	check := func(what string, n *node, want uint64) {
		t.Helper()
		if got := own.of(n); got != want {
			t.Fatalf("%v (big %v) on %#x: %s: evaluated %#x, want %#x", f.in, f.big, o, what, got, want)
		}
		got, literal, _ := s.ctx.Simplify(s.bv(n), nil).(z3.BV).AsUint64()
		if !literal || got != want {
			t.Fatalf("%v (big %v) on %#x: %s: Z3 has %#x, want %#x", f.in, f.big, o, what, got, want)
		}
	}
	for r := range f.mc.regs {
		if f.mc.regs[r].node == f.e.regs[r].node {
			if after.Regs[r] != before.Regs[r] {
				t.Fatalf("%v (big %v) on %#x: r%d stays on terms", f.in, f.big, o, r)
			}
			continue
		}
		check(bpf.Register(r).String(), f.mc.regs[r].node, after.Regs[r])
	}
	if f.mc.cond != nil {
		want := uint64(0)
		if taken {
			want = 1
		}
		check("the branch", f.mc.cond.node, want)
	}
	for _, st := range f.mc.log.stores {
		for i := range st.size {
			a := st.addr.at(i)
			check("memory", f.mc.log.byteAt(a, st.at), uint64(after.Byte(before.Regs[f.point]+uint64(a.off))))
		}
	}
	f.runner(t, o, after, taken)
}

// runner wants the fast interpreter to do what the description says.
func (f *formRun) runner(t *testing.T, o operandsOf, want *semantics.State, taken bool) {
	t.Helper()
	if f.in.Valid() != nil {
		return // immediates that only the description gives a meaning
	}
	r, err := semantics.NewRunner([]bpf.Instruction{f.in}, f.big)
	if err != nil {
		t.Fatal(err)
	}
	memory := make([]byte, 8)
	before := f.state(o)
	before.ReadBytes(at, memory)
	flat := semantics.Flat{Regs: before.Regs, Windows: []semantics.Window{{Addr: at, Data: memory}}}
	if err := r.Run(&flat); err != nil {
		t.Fatalf("%v: %v", f.in, err)
	}
	left := make([]byte, 8)
	want.ReadBytes(at, left)
	if flat.Regs != want.Regs || flat.Taken != taken || !slices.Equal(memory, left) {
		t.Fatalf("%v (big %v) on %#x: the runner has %#x, %v, % x; want %#x, %v, % x", f.in, f.big, o, flat.Regs, flat.Taken, memory, want.Regs, taken, left)
	}
}

// TestFormsAgree wants Z3's reading and the concrete ones of every form to
// agree, in both byte orders where they matter, on every combination of corner operands and on
// random ones.
func TestFormsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	s := newSolver(1_000_000)
	tried, runs := 0, 0
	var without []string
	for form := range bpf.Forms() {
		for _, big := range []bool{false, true} {
			ins := instances(rng, form)
			f0 := newFormRun(t, ins[0], big)
			if f0 == nil {
				if !big {
					without = append(without, form.Name())
				}
				continue
			}
			if !big {
				tried++
			}
			if ordered := f0.point != bpf.R9 || form.Example.IsALU() && form.Example.Op.ALU() == bpf.OpEnd; big && !ordered {
				continue
			}
			for _, in := range ins {
				f := newFormRun(t, in, big)
				for _, o := range combinations(rng, in) {
					f.agree(t, s, o)
					runs++
				}
			}
		}
	}
	t.Logf("%d forms, %d runs; no window has %q", tried, runs, without)
	if tried < 130 {
		t.Errorf("only %d forms", tried)
	}
}

// instances are instructions of a form, with corner immediates.
func instances(rng *rand.Rand, f bpf.Form) []bpf.Instruction {
	out := []bpf.Instruction{f.Example}
	if f.Fields.Has(bpf.FieldImm) && !f.Example.IsCall() {
		for _, imm := range append(cornerOperands, rng.Uint64(), rng.Uint64()) {
			in := f.Example
			in.Imm = int64(imm)
			if in.Op != bpf.LoadImm64 {
				in.Imm = int64(int32(imm))
			}
			if _, ok := in.Form(); ok {
				out = append(out, in)
			}
		}
	}
	return out
}

// combinations are every combination of corners in the operands that an
// instruction has, and as many random ones as there are corners.
func combinations(rng *rand.Rand, in bpf.Instruction) []operandsOf {
	var out []operandsOf
	isAccess := in.IsLoad() && in.Op != bpf.LoadImm64 || in.IsStore() || in.IsAtomic()
	second := []uint64{2}
	if in.UsesSrc() || isAccess && !in.IsLoad() {
		second = cornerOperands
	}
	third := []uint64{3}
	if in.IsAtomic() && in.Imm == bpf.AtomicCmpXchg {
		third = cornerOperands
	}
	for _, a := range cornerOperands {
		for _, b := range second {
			for _, c := range third {
				out = append(out, operandsOf{r0: c, dst: a, src: b, memory: a})
			}
		}
	}
	for range cornerOperands {
		x := func() uint64 { return rng.Uint64() >> rng.IntN(64) }
		out = append(out, operandsOf{x(), x(), x(), x()})
	}
	return out
}
