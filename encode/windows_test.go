package encode

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/examples"
	"github.com/k2cc/k2cc/windows"
)

// realWindows are windows of the examples, as clang makes them at two levels
// and in both byte orders, and of K2's benchmark programs.
func realWindows(t testing.TB) []*windows.Window {
	t.Helper()
	var out []*windows.Window
	add := func(name string, obj []byte) {
		file, err := object.Read(obj)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, fn := range file.Program().Functions {
			ws, err := windowsOf(fn, file.Program().BigEndian)
			if err != nil {
				t.Logf("%s: %s: %v", name, fn.Name, err)
			}
			out = append(out, ws...)
		}
	}
	if clang, err := exec.LookPath("clang-22"); err == nil {
		for _, e := range examples.All() {
			for _, flags := range []string{"-O2 -mcpu=v3", "-Os -mcpu=v4 --target=bpfeb"} {
				obj, err := examples.Compile(context.Background(), clang, e.Source, append(strings.Fields(flags), "-g")...)
				if err != nil {
					t.Fatal(err)
				}
				add(e.Name, obj)
			}
		}
	}
	dir := t.TempDir()
	if exec.Command("python3", "../../shared/k2bench/pack.py", dir).Run() == nil {
		files, _ := filepath.Glob(filepath.Join(dir, "*.o"))
		for _, file := range files {
			obj, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			add(filepath.Base(file), obj)
		}
	}
	return out
}

// windowsOf cuts a function into windows of up to twelve instructions.
func windowsOf(fn *bpf.Function, bigEndian bool) ([]*windows.Window, error) {
	facts, err := flow.Analyze(context.Background(), fn, flow.Options{BigEndian: bigEndian})
	if err != nil {
		return nil, err
	}
	needs, err := flow.Liveness(fn, facts)
	if err != nil {
		return nil, err
	}
	t := windows.Target{Level: bpf.V4, BigEndian: bigEndian, Atomics: true, Confirmed: true,
		Shared: map[flow.Kind]bool{flow.KindMapValue: true, flow.KindOther: true}}
	ws := windows.Cut(fn, 12).Windows(facts, needs, t)
	return slices.DeleteFunc(ws, func(w *windows.Window) bool { return w == nil || len(w.Code) == 0 }), nil
}

// Registers of random windows: r0 to r5 hold numbers, the others pointers that
// stay, to the context, the packet and two map values.
const numbers = 6

// randomWindow is a window of straight-line code on numbers, the stack, two map
// values, the packet and the context, with what random facts and needs there
// may be; the last instruction may be a branch.
func randomWindow(rng *rand.Rand) *windows.Window {
	for {
		w := &windows.Window{Fn: &bpf.Function{Context: bpf.ContextXDP}}
		w.Level, w.Atomics, w.Confirmed, w.BigEndian = bpf.V4, true, true, rng.IntN(3) == 0
		w.Shared = map[flow.Kind]bool{flow.KindMapValue: rng.IntN(2) == 0}
		facts, err := flow.ParseState(randomFacts(rng))
		if err != nil {
			continue // facts that contradict each other
		}
		w.Facts = facts
		w.Needs = randomNeeds(rng)
		for range 2 + rng.IntN(9) {
			w.Code = append(w.Code, randomCode(rng)...)
		}
		if rng.IntN(3) == 0 {
			w.Code = append(w.Code, randomBranch(rng))
		}
		valid := !slices.ContainsFunc(w.Code, func(in bpf.Instruction) bool { return in.Valid() != nil })
		if _, err := build(w, w.Code, nil); valid && err == nil {
			return w
		}
	}
}

// randomFacts is the text of what is known before a random window.
func randomFacts(rng *rand.Rand) string {
	var b strings.Builder
	for r := range numbers {
		fmt.Fprintf(&b, "r%d = %s; ", r, randomNumber(rng))
	}
	near := func(kind string, base int) string {
		if rng.IntN(2) == 0 {
			return fmt.Sprintf("%s(b%da8)", kind, base)
		}
		return fmt.Sprintf("%s(b%da8)%+d", kind, base, 8*rng.IntN(4))
	}
	second := 101 + rng.IntN(2) // perhaps the same map value
	fmt.Fprintf(&b, "r6 = context(b2); r7 = %s; r8 = %s; r9 = %s", near("packet", 100), near("map_value", 101), near("map_value", second))
	for off := -32; off < 0; off += 8 {
		switch rng.IntN(4) {
		case 0:
			fmt.Fprintf(&b, "; [r10%d:8] = %s", off, randomNumber(rng))
		case 1:
			fmt.Fprintf(&b, "; [r10%d:4] = scalar[0,%d]", off, rng.IntN(1<<16))
		}
	}
	b.WriteString("; written [r10-64:64]")
	return b.String()
}

// randomNumber is what may be known of a number. Some have one of two Bases.
func randomNumber(rng *rand.Rand) string {
	low := rng.Uint64() >> rng.IntN(64)
	switch rng.IntN(7) {
	case 0:
		return fmt.Sprint(int64(rng.Uint64()) >> rng.IntN(64))
	case 1:
		return fmt.Sprintf("scalar[%d,%d]", low, low|rng.Uint64()>>rng.IntN(64))
	case 2:
		mask := rng.Uint64()
		return fmt.Sprintf("scalar{%#x/%#x}", rng.Uint64()&^mask, mask)
	case 3:
		return fmt.Sprintf("scalar s[%d,%d]", -rng.Int64N(1<<20), rng.Int64N(1<<40))
	case 4:
		return fmt.Sprintf("scalar(b%d)%+d", 200+rng.IntN(2), rng.IntN(9)-4)
	}
	return "scalar"
}

func randomNeeds(rng *rand.Rand) flow.Live {
	var l flow.Live
	for r := range l.Regs {
		l.Regs[r] = pick(rng, 0, 0xff, 0xffff_ffff, ^uint64(0), ^uint64(0), ^uint64(0))
	}
	l.Regs[bpf.R10] = ^uint64(0)
	for off := -64; off < 0; off += 4 {
		if rng.IntN(3) > 0 {
			l.Stack.Add(off, 4)
		}
	}
	return l
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

func aNumber(rng *rand.Rand) bpf.Register { return bpf.Register(rng.IntN(numbers)) }

// aPlace is where an access of some bytes goes.
func aPlace(rng *rand.Rand, size int) (bpf.Register, int16) {
	off := size * rng.IntN(16/size)
	switch rng.IntN(6) {
	case 0, 1, 2:
		return bpf.R10, int16(off - 16*(1+rng.IntN(3)))
	case 3:
		return bpf.R7, int16(off)
	}
	return pick(rng, bpf.R8, bpf.R9), int16(off)
}

// randomCode is an instruction, or two that belong together.
func randomCode(rng *rand.Rand) []bpf.Instruction {
	n := 1 << rng.IntN(4)
	size, _ := bpf.SizeOp(n)
	at, off := aPlace(rng, n)
	one := func(in bpf.Instruction) []bpf.Instruction { return []bpf.Instruction{in} }
	switch rng.IntN(12) {
	case 0, 1:
		mode := pick(rng, bpf.ModeMem, bpf.ModeMem, bpf.ModeMemSX)
		if n == 8 {
			mode = bpf.ModeMem
		}
		return one(bpf.Instruction{Op: bpf.ClassLDX | mode | size, Dst: aNumber(rng), Src: at, Off: off})
	case 2, 3:
		return one(bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeMem | size, Dst: at, Src: aNumber(rng), Off: off})
	case 4:
		return one(bpf.Instruction{Op: bpf.ClassST | bpf.ModeMem | size, Dst: at, Off: off, Imm: int64(int32(rng.Uint32()))})
	case 5:
		return one(bpf.Instruction{Op: bpf.LoadImm64, Dst: aNumber(rng), Imm: int64(rng.Uint64())})
	case 6:
		return atomicCode(rng)
	case 7:
		return one(bpf.Instruction{Op: bpf.ClassLDX | bpf.ModeMem | bpf.SizeW, Dst: aNumber(rng), Src: bpf.R6, Off: int16(12 + 4*rng.IntN(3))})
	case 8:
		// A pointer in a register of numbers, and an access through it.
		p := aNumber(rng)
		return []bpf.Instruction{
			{Op: bpf.ClassALU64 | bpf.OpMov | bpf.SourceX, Dst: p, Src: at},
			{Op: bpf.ClassALU64 | bpf.OpAdd, Dst: p, Imm: int64(off)},
			{Op: bpf.ClassLDX | bpf.ModeMem | size, Dst: p, Src: p},
		}
	}
	return one(randomALU(rng))
}

func atomicCode(rng *rand.Rand) []bpf.Instruction {
	n := pick(rng, 4, 8)
	size, _ := bpf.SizeOp(n)
	in := bpf.Instruction{Op: bpf.ClassSTX | bpf.ModeAtomic | size, Dst: bpf.R8, Src: aNumber(rng), Off: int16(8 * rng.IntN(2))}
	in.Imm = pick[int64](rng, bpf.AtomicAdd, bpf.AtomicOr, bpf.AtomicAnd|bpf.AtomicFetch, bpf.AtomicXor|bpf.AtomicFetch,
		bpf.AtomicXchg, bpf.AtomicCmpXchg)
	return []bpf.Instruction{in}
}

func randomALU(rng *rand.Rand) bpf.Instruction {
	ops := []bpf.Op{bpf.OpMov, bpf.OpAdd, bpf.OpAdd, bpf.OpSub, bpf.OpMul, bpf.OpDiv, bpf.OpMod, bpf.OpAnd, bpf.OpOr,
		bpf.OpXor, bpf.OpLsh, bpf.OpRsh, bpf.OpArsh, bpf.OpNeg, bpf.OpEnd}
	in := bpf.Instruction{Op: pick(rng, bpf.ClassALU, bpf.ClassALU64) | pick(rng, ops...), Dst: aNumber(rng)}
	switch in.Op.ALU() {
	case bpf.OpNeg:
		return in
	case bpf.OpEnd:
		in.Imm = pick[int64](rng, 16, 32, 64)
		if in.Op.Class() == bpf.ClassALU {
			in.Op |= pick(rng, 0, bpf.SourceX)
		}
		return in
	}
	return withOperand(rng, in)
}

func withOperand(rng *rand.Rand, in bpf.Instruction) bpf.Instruction {
	if rng.IntN(2) == 0 {
		in.Op, in.Src = in.Op|bpf.SourceX, aNumber(rng)
	} else {
		in.Imm = int64(int32(rng.Uint32())) >> rng.IntN(32)
	}
	return in
}

func randomBranch(rng *rand.Rand) bpf.Instruction {
	op := pick(rng, bpf.OpJEq, bpf.OpJNE, bpf.OpJGT, bpf.OpJGE, bpf.OpJLT, bpf.OpJLE, bpf.OpJSGT, bpf.OpJSGE, bpf.OpJSLT, bpf.OpJSLE, bpf.OpJSet)
	return withOperand(rng, bpf.Instruction{Op: pick(rng, bpf.ClassJMP, bpf.ClassJMP32) | op, Dst: aNumber(rng), Target: 1})
}
