package semantics

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/bpf"
)

func function(t testing.TB, name, src string) *bpf.Function {
	t.Helper()
	blocks, err := bpf.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	return &bpf.Function{Name: name, Blocks: blocks}
}

func newExec() *Exec {
	e := &Exec{State: &State{}}
	e.Regs[bpf.R10] = frame
	return e
}

func TestExecLoop(t *testing.T) {
	e := newExec()
	e.Regs[1] = 10
	got, err := e.Run(function(t, "sum", `
		r0 = 0
	L1:
		r0 += r1
		r1 -= 1
		if r1 != 0 goto L1
		exit
	`))
	if err != nil || got != 55 {
		t.Errorf("got %d, %v", got, err)
	}
	if e.Steps != 32 {
		t.Errorf("%d steps", e.Steps)
	}
}

func TestExecStopsAtLimit(t *testing.T) {
	e := newExec()
	e.Limit = 100
	if _, err := e.Run(function(t, "forever", "L1:\ngoto L1")); !errors.Is(err, ErrLimit) {
		t.Errorf("got %v", err)
	}
}

func TestExecErrors(t *testing.T) {
	for src, want := range map[string]string{
		"r0 = 0":                 "control runs off the end",
		"call 1\nexit":           "nothing answers this call",
		"call @1\nexit":          "nothing answers this call",
		"callx r3\nexit":         "nothing answers this call",
		"r1 = @1 ll\nexit":       "there is no such symbol",
		"r0 = *(u8 *)skb[0]":     "there is no packet",
		".insn 0xff 0 0 0 0 0 0": "is no instruction",
	} {
		_, err := newExec().Run(function(t, "test", src))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", src, err, want)
		}
	}
}

// A callee has a frame of its own, keeps R6 to R9 and may call further.
func TestExecLocalCalls(t *testing.T) {
	leaf := function(t, "leaf", `
		*(u64 *)(r10 - 8) = r1
		r6 = 99
		r1 = *(u64 *)(r10 - 8)
		r0 = @1 ll
		r0 += r1
		exit
	`)
	leaf.Symbols = []bpf.Symbol{{Kind: bpf.SymbolData, Name: "leaf's"}}
	main := function(t, "main", `
		r6 = @2 ll
		*(u64 *)(r10 - 8) = 5
		r1 = 7
		call @1
		r1 = *(u64 *)(r10 - 8)
		r0 += r1
		r1 = @2 ll
		if r1 != r6 goto L1
		r0 += r6
	L1:
		exit
	`)
	main.Symbols = []bpf.Symbol{
		{Kind: bpf.SymbolFunc, Name: "leaf", Func: leaf},
		{Kind: bpf.SymbolData, Name: "main's"},
	}
	e := newExec()
	e.Symbol = func(s *bpf.Symbol) (uint64, error) {
		return map[string]uint64{"leaf's": 1000, "main's": 20000}[s.Name], nil
	}
	got, err := e.Run(main)
	if err != nil || got != 21012 {
		t.Errorf("got %d, %v", got, err)
	}
	if e.Regs[bpf.R10] != frame || e.Regs[bpf.R1] != 20000 {
		t.Errorf("registers are %x", e.Regs)
	}
}

func TestExecNesting(t *testing.T) {
	fn := function(t, "self", "call @1\nexit")
	fn.Symbols = []bpf.Symbol{{Kind: bpf.SymbolFunc, Name: "self", Func: fn}}
	if _, err := newExec().Run(fn); err == nil || !strings.Contains(err.Error(), "nest") {
		t.Errorf("got %v", err)
	}
}

// Helpers with callbacks, as bpf_loop, run functions on the same machine.
func TestExecCallback(t *testing.T) {
	body := function(t, "body", `
		r3 = *(u64 *)(r2 + 0)
		r3 += r1
		*(u64 *)(r2 + 0) = r3
		r0 = 0
		exit
	`)
	main := function(t, "main", `
		*(u64 *)(r10 - 8) = 100
		r7 = 3
		r1 = 5
		r2 = @1 ll
		r3 = r10
		r3 += -8
		r4 = 0
		call 181
		r0 = *(u64 *)(r10 - 8)
		r0 += r7
		exit
	`)
	main.Symbols = []bpf.Symbol{{Kind: bpf.SymbolFunc, Name: "body", Func: body}}
	e := newExec()
	const bodyAddr = 0x1234
	e.Symbol = func(*bpf.Symbol) (uint64, error) { return bodyAddr, nil }
	e.Helper = func(id int32, args [5]uint64) (uint64, error) {
		if id != 181 || args[1] != bodyAddr {
			return 0, fmt.Errorf("unexpected call of %d with %x", id, args)
		}
		for i := range args[0] {
			if _, err := e.Call(body, [5]uint64{i, args[2]}); err != nil {
				return 0, err
			}
		}
		return args[0], nil
	}
	got, err := e.Run(main)
	if err != nil || got != 113 {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestExecMayGoto(t *testing.T) {
	e := newExec()
	n := 0
	e.MayGoto = func() bool { n++; return n > 3 }
	got, err := e.Run(function(t, "loop", "r0 = 0\nL1:\nmay_goto L2\nr0 += 1\ngoto L1\nL2:\nexit"))
	if err != nil || got != 3 {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestExecBigEndian(t *testing.T) {
	e := newExec()
	e.Big = true
	got, err := e.Run(function(t, "big", `
		r1 = 0x0102030405060708 ll
		*(u64 *)(r10 - 8) = r1
		r0 = *(u16 *)(r10 - 8)
		r2 = *(u8 *)(r10 - 1)
		r0 <<= 8
		r0 |= r2
		r3 = r1
		r3 = be16 r3
		r0 <<= 16
		r0 |= r3
		r1 = le16 r1
		r0 <<= 16
		r0 |= r1
		exit
	`))
	if err != nil || got != 0x010208_0708_0807 {
		t.Errorf("got %#x, %v", got, err)
	}
}

func TestExecCheck(t *testing.T) {
	e := newExec()
	fault := errors.New("fault")
	e.Check = func(addr uint64, size int, write bool) error {
		if addr == frame-8 && size == 4 && write {
			return nil
		}
		return fault
	}
	_, err := e.Run(function(t, "fault", "*(u32 *)(r10 - 8) = 5\nr0 = *(u8 *)(r10 - 8)\nexit"))
	if !errors.Is(err, fault) || !strings.Contains(err.Error(), "r0 = *(u8 *)(r10 - 8)") {
		t.Errorf("got %v", err)
	}
}

// link lays functions out one behind the other and gives calls their offsets.
func link(t *testing.T, fns ...*bpf.Function) []byte {
	t.Helper()
	var blocks []*bpf.Block
	start := map[*bpf.Function]int{}
	slots := 0
	for i, fn := range fns {
		start[fn] = slots
		slots += fn.Slots()
		for _, b := range fn.Clone().Blocks {
			b.Label += bpf.Label(100 * i)
			if last := &b.Code[len(b.Code)-1]; last.IsJump() {
				last.Target += bpf.Label(100 * i)
			}
			blocks = append(blocks, b)
		}
	}
	placed, err := bpf.Place(blocks)
	if err != nil {
		t.Fatal(err)
	}
	var code []byte
	for _, p := range placed {
		if s := fns[0].Symbol(p.Ref); s != nil && s.Func != nil {
			p.Imm = int64(start[s.Func] - p.Slot - p.Slots())
		}
		code = p.Append(code, binary.LittleEndian)
	}
	return code
}

// TestExecAgainstKernel runs whole programs of type socket filter on packets.
func TestExecAgainstKernel(t *testing.T) {
	needKernel(t)
	packetLoads := function(t, "packetLoads", `
		r6 = r1
		r0 = *(u32 *)skb[0]
		r8 = r0
		r0 = *(u8 *)skb[6]
		r7 = r0
		r0 = *(u16 *)skb[r7 + 2]
		w0 *= 3
		r0 ^= r8
		exit
	`)
	callee := function(t, "callee", `
	L10:
		*(u64 *)(r10 - 8) = r1
		r6 = 11
		r7 = 0
		r0 = 0
	L11:
		r1 = *(u64 *)(r10 - 8)
		r0 += r1
		r0 *= 13
		r7 += r6
		if w7 < 100 goto L11
		exit
	`)
	calls := function(t, "calls", `
	L1:
		r6 = r1
		r1 = *(u32 *)(r6 + 0)
		*(u64 *)(r10 - 8) = r1
		call @1
		r8 = r0
		r1 = *(u64 *)(r10 - 8)
		r1 += r8
		call @1
		r7 = 0
	L2:
		r8 += r7
		r7 += 1
		if r7 < 17 goto L2
		gotol L3
	L3:
		w0 += w8
		exit
	`)
	calls.Symbols = []bpf.Symbol{{Kind: bpf.SymbolFunc, Name: "callee", Func: callee}}
	for _, fns := range [][]*bpf.Function{{packetLoads}, {calls, callee}} {
		prog, err := loadSpec(link(t, fns...), ebpf.ProgramSpec{Type: ebpf.SocketFilter})
		if err != nil {
			t.Errorf("%s: %v", fns[0].Name, err)
			continue
		}
		comparePackets(t, prog, fns[0])
		prog.Close()
	}
}

// comparePackets runs a program on packets of many lengths both ways.
func comparePackets(t *testing.T, prog *ebpf.Program, fn *bpf.Function) {
	t.Helper()
	for length := 14; length < 64; length++ {
		packet := make([]byte, length)
		for i := range packet {
			packet[i] = byte(i*37 + length)
		}
		if length > 20 {
			packet[20] = byte(length / 2)
		}
		want, err := prog.Run(&ebpf.RunOptions{Data: packet})
		if err != nil {
			t.Fatal(err)
		}
		// For socket filters the packet begins behind the Ethernet header.
		got, err := filter(fn, packet[14:])
		if err != nil || uint32(got) != want {
			t.Errorf("%s, %d bytes: got %#x, %v, want %#x", fn.Name, length, got, err, want)
		}
	}
}

// filter runs a program on a packet, with a context that begins with the
// packet's length as struct __sk_buff does.
func filter(fn *bpf.Function, packet []byte) (uint64, error) {
	const context = 0x4000
	e := newExec()
	e.Regs[bpf.R1] = context
	e.Write(context, 4, uint64(len(packet)))
	e.Packet = func(off uint32, size int) (uint64, bool) {
		if int64(int32(off)) < 0 || int(off)+size > len(packet) {
			return 0, false
		}
		var v uint64
		for _, b := range packet[off : int(off)+size] {
			v = v<<8 | uint64(b)
		}
		return v, true
	}
	return e.Run(fn)
}

// callx calls the function whose address is in the register, in a frame of its
// own, or else a helper.
func TestExecCallRegister(t *testing.T) {
	callee := function(t, "callee", "r0 = r1\nr0 += r2\nr6 = 0\nexit")
	main := function(t, "main", "r6 = 7\nr1 = 3\nr2 = 4\nr3 = func(@1) ll\ncallx r3\nr0 *= r6\nexit")
	main.Symbols = []bpf.Symbol{{Kind: bpf.SymbolFunc, Name: "callee", Func: callee}}
	e := newExec()
	e.Symbol = func(*bpf.Symbol) (uint64, error) { return 0x1234_5678_9abc, nil }
	if got, err := e.Run(main); err != nil || got != 49 {
		t.Errorf("got %d, %v", got, err)
	}
	e.Helper = func(id int32, args [5]uint64) (uint64, error) { return uint64(id) + args[0], nil }
	if got, err := e.Run(function(t, "helper", "r1 = 3\nr2 = 14\ncallx r2\nexit")); err != nil || got != 17 {
		t.Errorf("helper: got %d, %v", got, err)
	}
	if _, err := e.Run(function(t, "nowhere", "r2 = 0x1234567890 ll\ncallx r2\nexit")); !errors.Is(err, errNoAnswer) {
		t.Errorf("nowhere: got %v", err)
	}
}

// A tail call that succeeds replaces the function that makes it; its caller goes
// on with the other program's result.
func TestExecTailCall(t *testing.T) {
	other := function(t, "other", "*(u64 *)(r10 - 8) = 5\nr0 = *(u64 *)(r10 - 8)\nr0 += r1\nexit")
	jump := function(t, "jump", "r3 = 0\ncall 12\nr0 = 100\nexit")
	main := function(t, "main", "r6 = 1000\nr1 = 20\nr3 = 0\ncall @1\nr0 += r6\nexit")
	main.Symbols = []bpf.Symbol{{Kind: bpf.SymbolFunc, Name: "jump", Func: jump}}
	self := function(t, "self", "r6 = *(u64 *)(r1 + 0)\nr6 += 1\n*(u64 *)(r1 + 0) = r6\nr3 = 1\ncall 12\nr0 = r6\nexit")
	for _, test := range []struct {
		name string
		fn   *bpf.Function
		r1   uint64
		want uint64
	}{
		{"taken", jump, 7, 12},
		{"not there", function(t, "miss", "r3 = 2\ncall 12\nr0 = 100\nexit"), 7, 100},
		{"in a subprogram", main, 0, 1025},
		{"too many", self, 64, maxTails + 1},
	} {
		e := newExec()
		e.Regs[bpf.R1] = test.r1
		e.TailCall = func(args [5]uint64) (*bpf.Function, error) {
			return map[uint64]*bpf.Function{0: other, 1: self}[args[2]], nil
		}
		if got, err := e.Run(test.fn); err != nil || got != test.want {
			t.Errorf("%s: got %d, %v, want %d", test.name, got, err, test.want)
		}
	}
}
