package semantics

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/k2cc/k2cc/bpf"
)

// The running kernel's own prototypes, struct bpf_func_proto, lie in its
// read-only data, each beginning with the address of its function. A program
// that reads kernel memory finds them there.

// kernelProto is a struct bpf_func_proto as it is in memory.
type kernelProto struct {
	ret  uint32
	args [5]uint32
	size [5]uint64 // for memory of fixed size
}

// protoLayout is where the fields of struct bpf_func_proto are, and what its
// numbers mean in this kernel.
type protoLayout struct {
	size, ret, args, sizes int
	values                 map[string]uint32
}

func loadLayout(spec *btf.Spec) (*protoLayout, error) {
	var s *btf.Struct
	if err := spec.TypeByName("bpf_func_proto", &s); err != nil {
		return nil, err
	}
	l := &protoLayout{size: int(s.Size), values: map[string]uint32{}}
	for _, m := range s.Members {
		at := int(m.Offset.Bytes())
		u, isUnion := m.Type.(*btf.Union)
		switch {
		case m.Name == "ret_type":
			l.ret = at
		case isUnion && u.Members[len(u.Members)-1].Name == "arg_type":
			l.args = at
		case isUnion:
			l.sizes = at
		}
	}
	for _, name := range []string{"bpf_arg_type", "bpf_return_type", "bpf_type_flag"} {
		var e *btf.Enum
		if err := spec.TypeByName(name, &e); err != nil {
			return nil, err
		}
		for _, v := range e.Values {
			l.values[v.Name] = uint32(v.Value)
		}
	}
	return l, nil
}

// parse reads a prototype, unless the bytes are none.
func (l *protoLayout) parse(b []byte) (p kernelProto, ok bool) {
	order := binary.LittleEndian
	p.ret = order.Uint32(b[l.ret:])
	if p.ret&0xff >= l.values["__BPF_RET_TYPE_MAX"] || p.ret >= 1<<28 {
		return p, false
	}
	for i := range p.args {
		p.args[i] = order.Uint32(b[l.args+4*i:])
		if p.args[i]&0xff >= l.values["__BPF_ARG_TYPE_MAX"] || p.args[i] >= 1<<28 {
			return p, false
		}
		p.size[i] = order.Uint64(b[l.sizes+8*i:])
	}
	return p, true
}

// textSymbols gives the names of the kernel's functions by address, and the
// address at which the kernel begins.
func textSymbols() (names map[uint64]string, start uint64, err error) {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	names = map[uint64]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		w := strings.Fields(lines.Text())
		addr, err := strconv.ParseUint(w[0], 16, 64)
		if err != nil {
			return nil, 0, err
		}
		if w[2] == "_text" {
			start = addr
		}
		if name, ok := strings.CutPrefix(w[2], "bpf_"); ok && addr != 0 && strings.EqualFold(w[1], "t") {
			names[addr] = name
		}
	}
	return names, start, lines.Err()
}

const chunk = 1 << 16

// kernelReader reads chunks of kernel memory.
type kernelReader struct {
	buf  *ebpf.Map
	prog *ebpf.Program
}

func newKernelReader(t *testing.T) *kernelReader {
	t.Helper()
	buf, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: chunk, MaxEntries: 1})
	if err != nil {
		t.Skipf("no permission to create maps: %v", err)
	}
	t.Cleanup(func() { buf.Close() })
	code := parse(t, fmt.Sprintf(`
		r6 = r1
		r3 = *(u64 *)(r1 + 0)
		r1 = map_value(%d) ll
		r2 = %d
		call 113 // bpf_probe_read_kernel
		*(u64 *)(r6 + 0) = r0
		r0 = 0
		exit
	`, buf.FD(), chunk))
	prog, err := loadCode(encode(t, []*bpf.Block{{Label: 1, Code: code}}))
	if err != nil {
		t.Skipf("no permission to read kernel memory: %v", err)
	}
	t.Cleanup(func() { prog.Close() })
	return &kernelReader{buf, prog}
}

// read fills b with what is at addr, if that is readable.
func (r *kernelReader) read(addr uint64, b []byte) (bool, error) {
	var failed uint64
	if _, err := r.prog.Run(&ebpf.RunOptions{Context: addr, ContextOut: &failed}); err != nil {
		return false, err
	}
	if failed != 0 {
		return false, nil
	}
	return true, r.buf.Lookup(uint32(0), &b)
}

// kernelProtos finds the prototypes of helpers by name.
func kernelProtos(t *testing.T, l *protoLayout) map[string][]kernelProto {
	t.Helper()
	names, start, err := textSymbols()
	if err != nil || start == 0 {
		t.Skipf("kernel addresses are hidden: %v", err)
	}
	reader := newKernelReader(t)
	protos := map[string][]kernelProto{}
	b := make([]byte, chunk)
	const kernelSize = 48 << 20
	for addr := start; addr < start+kernelSize; addr += chunk - uint64(l.size) {
		ok, err := reader.read(addr, b)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; ok && i+l.size <= len(b); i += 8 {
			name := names[binary.LittleEndian.Uint64(b[i:])]
			if name == "" {
				continue
			}
			if p, ok := l.parse(b[i:]); ok {
				protos[name] = append(protos[name], p)
			}
		}
	}
	return protos
}

// TestHelpersAgainstKernel compares the table with the running kernel's
// prototypes: what the kernel takes an argument for, the table must allow.
func TestHelpersAgainstKernel(t *testing.T) {
	needKernel(t)
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Skipf("no BTF of the kernel: %v", err)
	}
	layout, err := loadLayout(spec)
	if err != nil {
		t.Skipf("a kernel without the types expected: %v", err)
	}
	protos := kernelProtos(t, layout)
	compared := 0
	for id := int32(1); id <= int32(Helpers()); id++ {
		h, _ := HelperByID(id)
		for _, p := range protos[h.Name] {
			compared++
			for i := range p.args {
				if err := layout.compareArg(h, p, i); err != nil {
					t.Errorf("%s: argument %d: %v", h.Name, i+1, err)
				}
			}
			if err := layout.compareReturn(h, p.ret); err != nil {
				t.Errorf("%s: %v", h.Name, err)
			}
		}
	}
	t.Logf("%d prototypes compared", compared)
	if compared < 100 {
		t.Errorf("only %d prototypes found", compared)
	}
}

// compareArg tells whether the table allows for all that the kernel's
// prototype says of argument i.
func (l *protoLayout) compareArg(h *Helper, p kernelProto, i int) error {
	arg, flags := h.Args[i], p.args[i]&^0xff
	base := p.args[i] & 0xff
	is := func(name string) bool { return base == l.values[name] }
	if base != 0 && arg.Kind == ArgUnknown {
		return nil
	}
	want := arg
	switch {
	case base == 0:
		return nil // the table may know of more than the verifier checks
	case is("ARG_CONST_SIZE"), is("ARG_CONST_SIZE_OR_ZERO"):
		if before := h.Args[i-1]; before.Kind != ArgUnknown && int(before.SizeReg) != i+1 {
			return fmt.Errorf("is the size of the one before")
		}
		want.Kind = ArgScalar
	case is("ARG_ANYTHING"), is("ARG_CONST_ALLOC_SIZE_OR_ZERO"):
		if arg.Kind != ArgMemory { // an address that is read from
			want.Kind = ArgScalar
		}
	case is("ARG_CONST_MAP_PTR"):
		want.Kind = ArgMap
	case is("ARG_PTR_TO_MAP_KEY"):
		want = Arg{Kind: ArgMapKey, Read: true}
	case is("ARG_PTR_TO_MAP_VALUE"), is("ARG_PTR_TO_MEM"):
		want = l.memory(arg, base, flags, p.size[i])
	case is("ARG_PTR_TO_CTX"):
		if arg.Kind != ArgPointer {
			want.Kind = ArgContext
		}
	case is("ARG_PTR_TO_FUNC"):
		want.Kind = ArgFunc
	case is("ARG_PTR_TO_STACK"):
		want.Kind = ArgCallback
	case is("ARG_PTR_TO_DYNPTR"):
		want = Arg{Kind: ArgMemory, Read: true, Write: true, Size: 16}
	default:
		if arg.Kind != ArgContext {
			want.Kind = ArgPointer
		}
	}
	if arg != want {
		return fmt.Errorf("is %+v, the kernel's says %+v (%#x)", arg, want, p.args[i])
	}
	return nil
}

// memory is what the table should say of memory: at least what the kernel says.
func (l *protoLayout) memory(arg Arg, base, flags uint32, size uint64) Arg {
	want := arg
	want.Kind = ArgMemory
	if base == l.values["ARG_PTR_TO_MAP_VALUE"] {
		want.Kind = ArgMapValue
	}
	if flags&l.values["MEM_UNINIT"] == 0 {
		want.Read = true
	}
	if flags&l.values["MEM_WRITE"] != 0 || flags&l.values["MEM_UNINIT"] != 0 {
		want.Write = true
	}
	if flags&l.values["MEM_FIXED_SIZE"] != 0 {
		want.Size = int(size)
	}
	return want
}

func (l *protoLayout) compareReturn(h *Helper, ret uint32) error {
	null := ret&l.values["PTR_MAYBE_NULL"] != 0
	var want ReturnKind
	switch ret & 0xff {
	case l.values["RET_INTEGER"]:
		want = ReturnScalar
	case l.values["RET_VOID"]:
		want = ReturnVoid
	case l.values["RET_PTR_TO_MAP_VALUE"]:
		want = ReturnMapValue
		if null {
			want = ReturnMapValueOrNull
		}
	case l.values["RET_PTR_TO_MEM"]:
		want = ReturnMemoryOrNull
	default:
		want = ReturnPointer
		if null {
			want = ReturnPointerOrNull
		}
	}
	if h.Returns != want && h.Returns != ReturnAny {
		return fmt.Errorf("returns %d, the kernel's says %d (%#x)", h.Returns, want, ret)
	}
	return nil
}

// TestHelperIDsAgainstKernel wants the running kernel's helpers in the table,
// and those that are newer than the table unknown.
func TestHelperIDsAgainstKernel(t *testing.T) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Skipf("no BTF of the kernel: %v", err)
	}
	var ids *btf.Enum
	if err := spec.TypeByName("bpf_func_id", &ids); err != nil {
		t.Skipf("a kernel without the types expected: %v", err)
	}
	for _, v := range ids.Values {
		name := strings.TrimPrefix(v.Name, "BPF_FUNC_")
		if name == "unspec" || v.Name == "__BPF_FUNC_MAX_ID" {
			continue
		}
		h, ok := HelperByID(int32(v.Value))
		switch {
		case int(v.Value) > Helpers() && ok:
			t.Errorf("%s is newer than the table but known as %s", name, h.Name)
		case int(v.Value) <= Helpers() && (!ok || h.Name != name):
			t.Errorf("the kernel's helper %d is %s, the table's %v", v.Value, name, h)
		}
	}
}
