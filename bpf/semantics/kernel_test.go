package semantics

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"

	"github.com/k2cc/k2cc/bpf"
)

// The kernel is the judge of what instructions mean. Test programs are of type
// syscall, whose context is plain memory: they take R0 to R9 and 64 bytes of
// stack from it, run the code under test, and put both back.

const (
	scratchLow  = -80 // the stack bytes that code under test may use
	scratchSize = 64
	savedCtx    = -8
	savedRegs   = scratchLow - 8*10
	frame       = 0xffff_c900_0000_1000 // R10 in the interpreter
)

// machineState is what goes in and out of a test program.
type machineState struct {
	Regs  [10]uint64
	Stack [scratchSize]byte
}

// wrap puts code between the loads and stores of the machine's state.
func wrap(t testing.TB, body []*bpf.Block) []*bpf.Block {
	t.Helper()
	var head, tail strings.Builder
	fmt.Fprintf(&head, "*(u64 *)(r10 + %d) = r1\nr6 = r1\n", savedCtx)
	for i := range scratchSize / 8 {
		fmt.Fprintf(&head, "r0 = *(u64 *)(r6 + %d)\n*(u64 *)(r10 + %d) = r0\n", 80+8*i, scratchLow+8*i)
	}
	for i := range 10 {
		fmt.Fprintf(&head, "r%d = *(u64 *)(r6 + %d)\n", (i+7)%10, 8*((i+7)%10))
	}
	for i := range 10 {
		fmt.Fprintf(&tail, "*(u64 *)(r10 + %d) = r%d\n", savedRegs+8*i, i)
	}
	fmt.Fprintf(&tail, "r6 = *(u64 *)(r10 + %d)\n", savedCtx)
	for i := range 10 {
		fmt.Fprintf(&tail, "r0 = *(u64 *)(r10 + %d)\n*(u64 *)(r6 + %d) = r0\n", savedRegs+8*i, 8*i)
	}
	for i := range scratchSize / 8 {
		fmt.Fprintf(&tail, "r0 = *(u64 *)(r10 + %d)\n*(u64 *)(r6 + %d) = r0\n", scratchLow+8*i, 80+8*i)
	}
	tail.WriteString("r0 = 0\nexit\n")
	blocks := []*bpf.Block{{Label: 1000, Code: parse(t, head.String())}}
	blocks = append(blocks, body...)
	return append(blocks, &bpf.Block{Label: end, Code: parse(t, tail.String())})
}

const end bpf.Label = 1001 // jumps of code under test may lead here

func parse(t testing.TB, src string) []bpf.Instruction {
	t.Helper()
	code, err := bpf.ParseCode(src)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// encode lays blocks out and writes them as the kernel reads them.
func encode(t testing.TB, blocks []*bpf.Block) []byte {
	t.Helper()
	placed, err := bpf.Place(blocks)
	if err != nil {
		t.Fatal(err)
	}
	var code []byte
	for _, p := range placed {
		code = p.Append(code, binary.LittleEndian)
	}
	return code
}

// needKernel skips where programs may not be loaded.
func needKernel(t testing.TB) {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the kernel here is big-endian")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Skipf("no permission to lock memory: %v", err)
	}
	prog, err := loadCode(encode(t, wrap(t, nil)))
	if errors.Is(err, os.ErrPermission) || errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("no permission to load syscall programs: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	prog.Close()
}

const sleepable = 1 << 4 // BPF_F_SLEEPABLE, which syscall programs need

func loadCode(code []byte) (*ebpf.Program, error) {
	return loadSpec(code, ebpf.ProgramSpec{Type: ebpf.Syscall, Flags: sleepable})
}

// loadSpec loads code as a program that is otherwise like spec.
func loadSpec(code []byte, spec ebpf.ProgramSpec) (*ebpf.Program, error) {
	insns, err := asm.AppendInstructions(nil, bytes.NewReader(code), binary.LittleEndian, "linux")
	if err != nil {
		return nil, fmt.Errorf("decode for the loader: %w", err)
	}
	var again bytes.Buffer
	if err := insns.Marshal(&again, binary.LittleEndian); err != nil {
		return nil, fmt.Errorf("encode for the loader: %w", err)
	}
	if !bytes.Equal(code, again.Bytes()) {
		return nil, errors.New("the loader's instructions are not ours")
	}
	spec.License, spec.Instructions = "GPL", insns
	return ebpf.NewProgram(&spec)
}

// kernelRun runs a loaded test program.
func kernelRun(prog *ebpf.Program, in machineState) (machineState, error) {
	var out machineState
	_, err := prog.Run(&ebpf.RunOptions{Context: in, ContextOut: &out})
	return out, err
}

// interpret runs blocks on the concrete reading.
func interpret(body []*bpf.Block, in machineState) (machineState, error) {
	exec := Exec{State: &State{}}
	copy(exec.Regs[:], in.Regs[:])
	exec.Regs[bpf.R10] = frame
	low := exec.Regs[bpf.R10] - uint64(-scratchLow)
	exec.WriteBytes(low, in.Stack[:])
	fn := &bpf.Function{Name: "test", Blocks: append(body[:len(body):len(body)],
		&bpf.Block{Label: end, Code: []bpf.Instruction{{Op: bpf.ClassJMP | bpf.OpExit}}})}
	_, err := exec.Run(fn)
	var out machineState
	copy(out.Regs[:], exec.Regs[:])
	exec.ReadBytes(low, out.Stack[:])
	return out, err
}

// corners are operands at which mistakes show.
var corners = []uint64{
	0, 1, 2, 7, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000,
	0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0x100000000, 0x1_8000_0000, 0x0123456789abcdef,
	0x7fffffffffffffff, 0x8000000000000000, 0x8000000000000001, 0xfedcba9876543210,
	0xffffffff00000000, 0xffffffff7fffffff, 0xffffffff80000000, 0xfffffffffffffffe, 0xffffffffffffffff,
}

// TestOperandsAgainstKernel runs every arithmetic and jump form on corner
// operands in the kernel.
func TestOperandsAgainstKernel(t *testing.T) {
	needKernel(t)
	var forms []string
	for _, op := range []string{"+=", "-=", "*=", "/=", "%=", "s/=", "s%=", "|=", "&=", "^=", "<<=", ">>=", "s>>=", "="} {
		forms = append(forms, "r1 "+op+" r2", "w1 "+op+" w2", "r1 "+op+" 7", "w1 "+op+" 7", "r1 "+op+" 31", "w1 "+op+" 31")
		if !strings.Contains(op, "<") && !strings.Contains(op, ">") {
			forms = append(forms, "r1 "+op+" -1", "w1 "+op+" -1", "r1 "+op+" -2147483648", "w1 "+op+" -2147483648")
		}
	}
	forms = append(forms, "r1 = -r1", "w1 = -w1", "r1 = 0x123456789abcdef0 ll")
	for _, bits := range []string{"16", "32", "64"} {
		forms = append(forms, "r1 = be"+bits+" r1", "r1 = le"+bits+" r1", "r1 = bswap"+bits+" r1")
	}
	forms = append(forms, "r1 = (s8)r2", "r1 = (s16)r2", "r1 = (s32)r2", "w1 = (s8)w2", "w1 = (s16)w2")
	for _, op := range []string{"==", "!=", ">", ">=", "<", "<=", "&", "s>", "s>=", "s<", "s<="} {
		for _, operands := range []string{"r1 %s r2", "w1 %s w2", "r1 %s 5", "w1 %s 5", "r1 %s -5", "w1 %s -5", "r1 %s -2147483648", "w1 %s -2147483648"} {
			forms = append(forms, fmt.Sprintf("if "+operands+" goto L1001", op)+"\nr3 = 77")
		}
	}
	for _, form := range forms {
		body := blocksOf(t, form)
		prog, err := loadCode(encode(t, wrap(t, body)))
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		for _, a := range corners {
			for i, b := range corners {
				if i > 0 && !usesR2(body) {
					break
				}
				in := machineState{Regs: [10]uint64{1: a, 2: b, 3: 3, 9: 9}}
				if !sameAsKernel(t, form, prog, body, in) {
					break
				}
			}
		}
		prog.Close()
	}
}

func usesR2(body []*bpf.Block) bool {
	return body[0].Code[0].Reads().Has(bpf.R2)
}

// blocksOf parses code in which jumps to the end may stand.
func blocksOf(t testing.TB, src string) []*bpf.Block {
	t.Helper()
	var blocks []*bpf.Block
	for _, in := range parse(t, src) {
		if n := len(blocks); n == 0 || blocks[n-1].Code[len(blocks[n-1].Code)-1].EndsBlock() {
			blocks = append(blocks, &bpf.Block{Label: bpf.Label(n + 1)})
		}
		last := blocks[len(blocks)-1]
		last.Code = append(last.Code, in)
	}
	return blocks
}

func sameAsKernel(t *testing.T, name string, prog *ebpf.Program, body []*bpf.Block, in machineState) bool {
	t.Helper()
	want, err := kernelRun(prog, in)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return false
	}
	got, err := interpret(body, in)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return false
	}
	if got != want {
		t.Errorf("%s\nfrom   %x\ngot    %x\nkernel %x", name, in, got, want)
		return false
	}
	return true
}

// TestMemoryAgainstKernel runs every load, store and atomic form in the kernel.
func TestMemoryAgainstKernel(t *testing.T) {
	needKernel(t)
	var forms []string
	for _, bits := range []string{"8", "16", "32", "64"} {
		forms = append(forms, "r1 = *(u"+bits+" *)(r10 - 40)", "*(u"+bits+" *)(r10 - 40) = r2",
			"*(u"+bits+" *)(r10 - 40) = 305419896", "*(u"+bits+" *)(r10 - 40) = -2",
			"r1 = load_acquire((u"+bits+" *)(r10 - 40))", "store_release((u"+bits+" *)(r10 - 40), r2)")
		if bits != "64" {
			forms = append(forms, "r1 = *(s"+bits+" *)(r10 - 40)")
		}
	}
	for _, op := range []string{"+=", "|=", "&=", "^="} {
		forms = append(forms, "lock *(u64 *)(r10 - 40) "+op+" r2", "lock *(u32 *)(r10 - 40) "+op+" w2")
	}
	for _, op := range []string{"add", "or", "and", "xor"} {
		forms = append(forms, "r2 = atomic_fetch_"+op+"((u64 *)(r10 - 40), r2)", "w2 = atomic_fetch_"+op+"((u32 *)(r10 - 40), w2)")
	}
	forms = append(forms, "r2 = xchg_64(r10 - 40, r2)", "w2 = xchg32_32(r10 - 40, w2)",
		"r0 = cmpxchg_64(r10 - 40, r0, r2)", "w0 = cmpxchg32_32(r10 - 40, w0, w2)", "r0 = cmpxchg_64(r10 - 40, r0, r0)",
		"r0 = atomic_fetch_add((u64 *)(r10 - 40), r0)")
	for _, form := range forms {
		body := blocksOf(t, form)
		prog, err := loadCode(encode(t, wrap(t, body)))
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		for i, a := range corners {
			in := machineState{Regs: [10]uint64{0: a, 1: 1, 2: corners[(i+5)%len(corners)]}}
			for j := range in.Stack {
				in.Stack[j] = byte(0x85 + 7*j + i)
			}
			ok := sameAsKernel(t, form, prog, body, in)
			// The value that a compare-and-exchange waits for.
			binary.LittleEndian.PutUint64(in.Stack[40:], a)
			if !ok || !sameAsKernel(t, form, prog, body, in) {
				break
			}
			binary.LittleEndian.PutUint64(in.Stack[40:], a&0xffffffff)
			if !sameAsKernel(t, form, prog, body, in) {
				break
			}
		}
		prog.Close()
	}
}
