package semantics

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	counter "sync/atomic"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/bpf"
)

// Where the interpreter finds what the symbols of random programs stand for.
const (
	stateAddr = 0x1_0000_0000
	arrayAddr = 0x2_0000_0000
	arrayMap  = 0x3_0000_0000
	progsMap  = 0x4_0000_0000
	ctxAddr   = 0x5_0000_0000
)

const stateSize = 80 + scratchSize

// lab runs random programs in the kernel and in the interpreter. What programs
// leave in the array, the next ones find there.
type lab struct {
	state, array, progs *ebpf.Map
	memory              *ebpf.Memory // state's value
	target              *bpf.Function
	mirror              [arrayEntries * arrayValue]byte // what the array should hold
	packet              []byte

	// misread is what the interpreter takes an instruction for, to see bugs
	// caught; nil for what it is.
	misread func(bpf.Instruction) bpf.Instruction
	forms   map[string]int // how many programs have each form
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{forms: map[string]int{}}
	for _, m := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&l.state, ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: stateSize, MaxEntries: 1, Flags: 1 << 10 /* BPF_F_MMAPABLE */}},
		{&l.array, ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: arrayValue, MaxEntries: arrayEntries}},
		{&l.progs, ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 2}},
	} {
		made, err := ebpf.NewMap(&m.spec)
		if err != nil {
			t.Skipf("no permission to create maps: %v", err)
		}
		t.Cleanup(func() { made.Close() })
		*m.to = made
	}
	var err error
	if l.memory, err = l.state.Memory(); err != nil {
		t.Fatal(err)
	}
	l.target = function(t, "target", "r6 = r1\nr0 = *(u32 *)skb[0]\nr7 = r0\nr0 = *(u16 *)skb[4]\nr0 += r7\nexit")
	prog, err := loadSpec(l.link(t, []*bpf.Function{l.target}), ebpf.ProgramSpec{Type: ebpf.SchedCLS})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	if err := l.progs.Update(uint32(0), prog, ebpf.UpdateAny); err != nil {
		t.Fatal(err)
	}
	return l
}

// link is the program in wire format, with the lab's maps.
func (l *lab) link(t testing.TB, fns []*bpf.Function) []byte {
	t.Helper()
	var code []byte
	starts, slots := map[*bpf.Function]int{}, 0
	for _, fn := range fns {
		starts[fn] = slots
		slots += fn.Slots()
	}
	for _, fn := range fns {
		placed, err := bpf.Place(fn.Blocks)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range placed {
			if sym := fn.Symbol(p.Ref); sym != nil {
				l.patch(&p, sym, starts[sym.Func]-starts[fn])
			}
			code = p.Append(code, binary.LittleEndian)
		}
	}
	return code
}

// patch puts in what a symbol stands for; to is where a function starts.
func (l *lab) patch(p *bpf.Placed, sym *bpf.Symbol, to int) {
	switch sym.Name {
	case symState:
		p.Src, p.Imm = bpf.PseudoMapValue, int64(l.state.FD())
	case symArray:
		p.Src, p.Imm = bpf.PseudoMapFD, int64(l.array.FD())
	case symProgs:
		p.Src, p.Imm = bpf.PseudoMapFD, int64(l.progs.FD())
	default:
		p.Imm = int64(to - p.Slot - p.Slots())
	}
}

// exec is the interpreter for one run on l.packet.
func (l *lab) exec(in *machineState) *Exec {
	e := &Exec{State: &State{Memory: make(map[uint64]byte, 1024)}}
	e.Regs[bpf.R1], e.Regs[bpf.R10] = ctxAddr, frame
	for i, r := range in.Regs {
		e.Write(stateAddr+uint64(8*i), 8, r)
	}
	e.WriteBytes(stateAddr+80, in.Stack[:])
	e.WriteBytes(arrayAddr, l.mirror[:])
	e.Symbol = func(sym *bpf.Symbol) (uint64, error) {
		return map[string]uint64{symState: stateAddr, symArray: arrayMap, symProgs: progsMap}[sym.Name], nil
	}
	e.Helper = func(id int32, args [5]uint64) (uint64, error) { return l.helper(e, id, args) }
	e.TailCall = func(args [5]uint64) (*bpf.Function, error) {
		if args[0] != ctxAddr || args[1] != progsMap {
			return nil, fmt.Errorf("tail call with %x", args)
		}
		if uint32(args[2]) == 0 {
			return l.target, nil
		}
		return nil, nil
	}
	e.Packet = func(off uint32, size int) (uint64, bool) {
		if uint64(off)+uint64(size) > uint64(len(l.packet)) {
			return 0, false
		}
		var v uint64
		for _, b := range l.packet[off : int(off)+size] {
			v = v<<8 | uint64(b)
		}
		return v, true
	}
	return e
}

// helper does map_lookup_elem and map_update_elem on the array.
func (l *lab) helper(e *Exec, id int32, args [5]uint64) (uint64, error) {
	if args[0] != arrayMap {
		return 0, fmt.Errorf("helper %d with %x", id, args)
	}
	i := e.Read(args[1], 4)
	addr := arrayAddr + arrayValue*i
	switch {
	case id == 1 && i < arrayEntries:
		return addr, nil
	case id == 1:
		return 0, nil
	case id == 2 && i >= arrayEntries:
		return ^uint64(6), nil // -E2BIG
	case id == 2:
		value := make([]byte, arrayValue)
		e.ReadBytes(args[2], value)
		e.WriteBytes(addr, value)
		return 0, nil
	}
	return 0, fmt.Errorf("unexpected helper %d", id)
}

// outcome is what a run leaves.
type outcome struct {
	Return uint32
	machineState
	Array [arrayEntries * arrayValue]byte
}

// run runs a program both ways on one input.
func (l *lab) run(prog *ebpf.Program, fn *bpf.Function, in *machineState) (got, want outcome, err error) {
	var b [stateSize]byte
	if _, err := binary.Encode(b[:], binary.LittleEndian, in); err != nil {
		return got, want, err
	}
	if _, err := l.memory.WriteAt(b[:], 0); err != nil {
		return got, want, err
	}
	if want.Return, err = prog.Run(&ebpf.RunOptions{Data: l.packet}); err != nil {
		return got, want, err
	}
	if _, err := l.memory.ReadAt(b[:], 0); err != nil {
		return got, want, err
	}
	want.decode(b)
	for i := range uint32(arrayEntries) {
		if err := l.array.Lookup(i, want.Array[i*arrayValue:(i+1)*arrayValue]); err != nil {
			return got, want, err
		}
	}
	e := l.exec(in)
	r0, err := e.Run(fn)
	if err != nil {
		return got, want, fmt.Errorf("interpreter: %w", err)
	}
	got.Return = uint32(r0)
	e.ReadBytes(stateAddr, b[:])
	got.decode(b)
	e.ReadBytes(arrayAddr, got.Array[:])
	l.mirror = want.Array
	return got, want, nil
}

func (o *outcome) decode(b [stateSize]byte) {
	for i := range o.Regs {
		o.Regs[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	copy(o.Stack[:], b[80:])
}

// compare makes a random program and runs it on some inputs; it says where the
// two differ. refused is the verifier's word where it takes no such program.
func (l *lab) compare(t testing.TB, rng *rand.Rand) (difference string, refused error) {
	fns := randomProgram(t, rng)
	prog, err := loadSpec(l.link(t, fns), ebpf.ProgramSpec{Type: ebpf.SchedCLS})
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, format(fns))
	}
	defer prog.Close()
	main := l.reading(fns)
	for range 5 {
		var in machineState
		for i := range in.Regs {
			in.Regs[i] = randomWord(rng)
		}
		for i := range in.Stack {
			in.Stack[i] = byte(rng.Uint32())
		}
		l.packet = make([]byte, 14+rng.IntN(80))
		for i := range l.packet {
			l.packet[i] = byte(rng.Uint32())
		}
		// An experimental protocol (RFC 9542): the kernel looks into others.
		l.packet[12], l.packet[13] = 0x88, 0xb5
		got, want, err := l.run(prog, main, &in)
		if err != nil {
			return fmt.Sprintf("%v\n%s", err, format(fns)), nil
		}
		if got != want {
			return fmt.Sprintf("from   %x\npacket %x\ngot    %x\nkernel %x\n%s", in, l.packet, got, want, format(fns)), nil
		}
	}
	return "", nil
}

// reading is the program as the interpreter takes it.
func (l *lab) reading(fns []*bpf.Function) *bpf.Function {
	seen := map[string]bool{}
	for _, fn := range fns {
		for _, b := range fn.Blocks {
			for i := range b.Code {
				if f, ok := b.Code[i].Form(); ok && !seen[f.Name()] {
					seen[f.Name()] = true
					l.forms[f.Name()]++
				}
				if l.misread != nil {
					b.Code[i] = l.misread(b.Code[i])
				}
			}
		}
	}
	return fns[0]
}

func format(fns []*bpf.Function) string {
	var b bytes.Buffer
	for _, fn := range fns {
		fmt.Fprintf(&b, "%s:\n%s", fn.Name, bpf.FormatBlocks(fn.Blocks))
	}
	return b.String()
}

// needKernelPrograms skips where the kernel takes no test programs.
func needKernelPrograms(t testing.TB) {
	t.Helper()
	needKernel(t)
	prog, err := loadSpec(encode(t, []*bpf.Block{{Label: 1, Code: parse(t, "r0 = 0\nexit")}}), ebpf.ProgramSpec{Type: ebpf.SchedCLS})
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("no permission to load sched_cls programs: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	prog.Close()
}

// TestProgramsAgainstKernel compares random programs on as many cores as there
// are. The environment's K2CC_KERNEL_PROGRAMS says how many programs.
func TestProgramsAgainstKernel(t *testing.T) {
	needKernelPrograms(t)
	programs := 2000
	if s := os.Getenv("K2CC_KERNEL_PROGRAMS"); s != "" {
		var err error
		if programs, err = strconv.Atoi(s); err != nil {
			t.Fatalf("K2CC_KERNEL_PROGRAMS: %v", err)
		}
	}
	seed := rand.Uint64()
	var next, compared, refusals counter.Int64
	var wg sync.WaitGroup
	labs := make([]*lab, runtime.GOMAXPROCS(0))
	for i := range labs {
		labs[i] = newLab(t)
	}
	for _, l := range labs {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(programs) && !t.Failed(); n = next.Add(1) {
				difference, refused := l.compare(t, rand.New(rand.NewPCG(seed, uint64(n))))
				if difference != "" {
					t.Errorf("seed %d, program %d\n%s", seed, n, difference)
				}
				if refused == nil {
					compared.Add(1)
				} else if refusals.Add(1) <= 3 {
					t.Logf("seed %d, program %d is refused: %v", seed, n, refused)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d programs compared, %d more refused by the verifier", compared.Load(), refusals.Load())
	if refusals.Load() > int64(programs)/50 {
		t.Errorf("%d of %d programs are refused", refusals.Load(), programs)
	}
	checkCoverage(t, labs)
}

// checkCoverage wants every form in a program, but for those of which
// notCompared says why.
func checkCoverage(t *testing.T, labs []*lab) {
	t.Helper()
	for f := range bpf.Forms() {
		n := 0
		for _, l := range labs {
			n += l.forms[f.Name()]
		}
		if why := notCompared(f.Example); (n == 0) != (why != "") {
			t.Errorf("%s is in %d programs; reason for none: %q", f.Name(), n, why)
		}
	}
}

// notCompared says why random programs do not have an instruction.
func notCompared(in bpf.Instruction) string {
	switch {
	case in.IsCast():
		return "needs an arena"
	case in.IsCall() && in.Op&bpf.SourceX != 0:
		return "the verifier takes no callx"
	case in.IsCall() && in.Src == bpf.CallKfunc:
		return "what kfuncs do is not described"
	case in.Op == bpf.LoadImm64 && in.Src != bpf.PseudoImm:
		return "a handle or an address: what it is, the kernel alone knows"
	}
	return ""
}

// TestBugsAreCaught plants bugs in the interpreter; each has to show.
func TestBugsAreCaught(t *testing.T) {
	needKernelPrograms(t)
	swap := func(from, to bpf.Op, class ...bpf.Op) func(bpf.Instruction) bpf.Instruction {
		return func(in bpf.Instruction) bpf.Instruction {
			for _, c := range class {
				if in.Op&^bpf.SourceX == c|from {
					in.Op ^= from ^ to
				}
			}
			return in
		}
	}
	alu, jump := []bpf.Op{bpf.ClassALU, bpf.ClassALU64}, []bpf.Op{bpf.ClassJMP, bpf.ClassJMP32}
	for name, bug := range map[string]func(bpf.Instruction) bpf.Instruction{
		"shifts without sign":    swap(bpf.OpArsh, bpf.OpRsh, alu...),
		"32-bit add is 64-bit":   swap(bpf.ClassALU, bpf.ClassALU64, bpf.OpAdd),
		"at most is below":       swap(bpf.OpJLE, bpf.OpJLT, jump...),
		"signed is unsigned":     swap(bpf.OpJSGT, bpf.OpJGT, jump...),
		"JMP32 compares 64 bits": swap(bpf.ClassJMP32, bpf.ClassJMP, bpf.OpJSGE),
		"signed loads are not":   unsignedLoad,
		"bswap is le":            swap(bpf.ClassALU64, bpf.ClassALU, bpf.OpEnd),
		"fetch is forgotten":     atomicBug(bpf.AtomicXor|bpf.AtomicFetch, bpf.AtomicXor),
		"cmpxchg always":         atomicBug(bpf.AtomicCmpXchg, bpf.AtomicXchg),
		"signed division is not": unsignedDivision,
		"packet loads one byte on": func(in bpf.Instruction) bpf.Instruction {
			if in.IsPacketLoad() {
				in.Imm++
			}
			return in
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.misread = bug
			for n := range uint64(3000) {
				difference, refused := l.compare(t, rand.New(rand.NewPCG(1, n)))
				if refused == nil && difference != "" {
					t.Logf("seen in program %d", n)
					return
				}
			}
			t.Error("not seen")
		})
	}
}

func atomicBug(from, to int64) func(bpf.Instruction) bpf.Instruction {
	return func(in bpf.Instruction) bpf.Instruction {
		if in.IsAtomic() && in.Imm == from {
			in.Imm = to
		}
		return in
	}
}

func unsignedDivision(in bpf.Instruction) bpf.Instruction {
	if in.IsALU() && (in.Op.ALU() == bpf.OpDiv || in.Op.ALU() == bpf.OpMod) {
		in.Off = 0
	}
	return in
}

func unsignedLoad(in bpf.Instruction) bpf.Instruction {
	if in.IsLoad() && in.Op.Mode() == bpf.ModeMemSX {
		in.Op ^= bpf.ModeMemSX ^ bpf.ModeMem
	}
	return in
}
