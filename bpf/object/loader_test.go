package object

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/google/go-cmp/cmp"
)

// line is what an instruction is, as cilium/ebpf reads the object: without its
// offset if it is a jump, with the source line that governs it.
type line struct {
	Ins    string
	Symbol string
	Ref    string
	Source string
	Core   string
	Target int // of a jump, as an index into the lines
}

// lines reads a program with all that it calls; no-ops are left out. The
// object holds none but those that insertNoOps puts in.
func lines(insns asm.Instructions) []line {
	var out []line
	index := map[int]int{} // of lines, by raw offset
	var targets []int
	source, symbol := "", ""
	for it := insns.Iterate(); it.Next(); {
		ins := *it.Ins
		index[int(it.Offset)] = len(out)
		if ins.Symbol() != "" {
			source, symbol = "", ins.Symbol()
		}
		if s := ins.Source(); s != nil {
			source = s.String()
		}
		if isNoOp(ins) {
			continue
		}
		l := line{Symbol: symbol, Ref: ins.Reference(), Source: source, Target: -1}
		if r := btf.CORERelocationMetadata(&ins); r != nil {
			l.Core = r.String()
		}
		to := -1
		if ins.OpCode.Class().IsJump() && ins.OpCode.JumpOp() != asm.Call && ins.OpCode.JumpOp() != asm.Exit {
			to = int(it.Offset) + 1 + int(ins.Offset)
			if ins.OpCode.Class() == asm.Jump32Class && ins.OpCode.JumpOp() == asm.Ja {
				to = int(it.Offset) + 1 + int(ins.Constant)
				ins.Constant = 0
			}
			ins.Offset = 0
		}
		targets = append(targets, to)
		l.Ins = fmt.Sprint(ins.OpCode, ins.Dst, ins.Src, ins.Offset, ins.Constant)
		out = append(out, l)
	}
	for i, to := range targets {
		if to >= 0 {
			out[i].Target = index[to]
		}
	}
	return out
}

func isNoOp(ins asm.Instruction) bool {
	move := ins.OpCode == asm.Mov.Op(asm.RegSource) && ins.Dst == ins.Src && ins.Offset == 0
	return move || ins.OpCode == asm.Ja.Op(asm.ImmSource) && ins.Offset == 0
}

// TestMovedCodeKeepsItsMeta compares what cilium/ebpf reads from an object
// before and after no-ops went in: relocations, symbols, source lines, CO-RE
// relocations, and where jumps lead.
func TestMovedCodeKeepsItsMeta(t *testing.T) {
	for _, o := range append(compiled(t, some), shipped(t)...) {
		before, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(o.data))
		grown, _, werr := withNoOps(read(t, o), 2)
		if werr != nil {
			t.Errorf("%s: %v", o.name, werr)
			continue
		}
		after, err2 := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(grown))
		if err != nil || err2 != nil {
			if (err == nil) != (err2 == nil) {
				t.Errorf("%s: cilium/ebpf says %v, with no-ops %v", o.name, err, err2)
			}
			continue
		}
		if len(before.Programs) != len(after.Programs) {
			t.Errorf("%s: %d programs, with no-ops %d", o.name, len(before.Programs), len(after.Programs))
		}
		for name, p := range before.Programs {
			q := after.Programs[name]
			if q == nil {
				t.Errorf("%s: program %s is gone", o.name, name)
				continue
			}
			if diff := cmp.Diff(lines(p.Instructions), lines(q.Instructions)); diff != "" {
				t.Errorf("%s: program %s (-before +after):\n%s", o.name, name, diff)
			}
		}
	}
}

// needKernel skips where the kernel loads no programs for us.
func needKernel(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no permission to load BPF programs: not root")
	}
	_ = rlimit.RemoveMemlock()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SocketFilter,
		Instructions: asm.Instructions{asm.LoadImm(asm.R0, 0, asm.DWord), asm.Return()},
	})
	if err != nil {
		t.Skip("no permission to load BPF programs: ", err)
	}
	p.Close()
}

// TestMovedCodeLoads loads every program that the kernel accepts once more
// with no-ops in it, and compares what both do with some packets.
func TestMovedCodeLoads(t *testing.T) {
	needKernel(t)
	loaded, ran := 0, 0

	for _, o := range append(compiled(t, host), shipped(t)...) {
		before := load(o.data)
		if before == nil {
			continue
		}
		grown, _, err := withNoOps(read(t, o), 3)
		if err != nil {
			t.Fatalf("%s: %v", o.name, err)
		}
		after := load(grown)
		for name, p := range before.programs {
			loaded++
			q := after.programs[name]
			if q == nil {
				t.Errorf("%s: program %s loads, but not with no-ops: %v", o.name, name, after.errs[name])
				continue
			}
			if sameRuns(t, o.name+": "+name, p, q) {
				ran++
			}
		}
		before.close()
		after.close()
	}
	if loaded < 20 || ran < 10 {
		t.Errorf("only %d programs load and %d run", loaded, ran)
	}
	t.Logf("%d programs load with no-ops, %d of them run alike", loaded, ran)
}

// collection are the programs of an object that load.
type collection struct {
	maps     map[string]*ebpf.Map
	programs map[string]*ebpf.Program
	errs     map[string]error
}

// load loads an object's programs one by one; nil if its maps can't be made.
func load(data []byte) *collection {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
		if m.MaxEntries > 1<<16 {
			m.MaxEntries = 1 << 16
		}
	}
	out := &collection{maps: map[string]*ebpf.Map{}, programs: map[string]*ebpf.Program{}, errs: map[string]error{}}
	for name := range spec.Programs {
		one := spec.Copy()
		for other := range one.Programs {
			if other != name {
				delete(one.Programs, other)
			}
		}
		for m, s := range one.Maps {
			if s.Type == ebpf.ProgramArray || s.Type == ebpf.StructOpsMap {
				s.Contents = nil
			}
			if s.Type == ebpf.StructOpsMap {
				delete(one.Maps, m)
			}
		}
		coll, err := ebpf.NewCollection(one)
		if err != nil {
			out.errs[name] = err
			continue
		}
		if p := coll.DetachProgram(name); p != nil { // nil for a section of no known type
			out.programs[name] = p
		}
		coll.Close()
	}
	return out
}

func (c *collection) close() {
	for _, p := range c.programs {
		p.Close()
	}
}

// sameRuns runs both programs on some packets. It reports whether they can be
// run.
func sameRuns(t *testing.T, name string, p, q *ebpf.Program) bool {
	t.Helper()
	for n := range 20 {
		packet := bytes.Repeat([]byte{byte(n * 13), 0x08, 0x00, 0x45, byte(n)}, 13+n)
		want, wantErr := run(p, packet)
		got, gotErr := run(q, packet)
		if wantErr != nil {
			if !errors.Is(gotErr, errors.Unwrap(wantErr)) && gotErr == nil {
				t.Errorf("%s: runs with no-ops only", name)
			}
			return false
		}
		if gotErr != nil {
			t.Errorf("%s: %v", name, gotErr)
			return true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: packet %d (-before +after):\n%s", name, n, diff)
			return true
		}
	}
	return true
}

type result struct {
	Return uint32
	Data   []byte
}

func run(p *ebpf.Program, packet []byte) (result, error) {
	switch p.Type() {
	case ebpf.XDP, ebpf.SchedCLS, ebpf.SchedACT, ebpf.SocketFilter, ebpf.CGroupSKB:
	default:
		return result{}, errors.New("not a program that runs on packets")
	}
	out := make([]byte, len(packet)+512)
	opts := &ebpf.RunOptions{Data: packet, DataOut: out}
	ret, err := p.Run(opts)
	return result{ret, opts.DataOut}, err
}
