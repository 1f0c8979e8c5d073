package interp

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/examples"
)

// load finds the programs.
func (r *Runner) load(e examples.Example, file *object.File) error {
	for _, fn := range file.Program().Functions {
		if err := r.recordCore(fn); err != nil {
			return err
		}
		if slices.ContainsFunc(e.Programs, func(p examples.Program) bool {
			return p.Name == fn.Name && p.Section == fn.Section
		}) {
			r.functions[fn.Name] = fn
		}
	}
	for _, p := range e.Programs {
		if r.functions[p.Name] == nil {
			return fmt.Errorf("no program %q; left alone is %v", p.Name, file.Skipped())
		}
	}
	return nil
}

// loadMaps makes the maps in the order of their names, so that addresses do not
// depend on the run.
func (r *Runner) loadMaps(e examples.Example, spec *ebpf.CollectionSpec, seed int64) error {
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		ms := spec.Maps[name]
		if isData(name) && len(ms.Contents) == 0 {
			ms.Contents = []ebpf.MapKV{{Key: uint32(0), Value: make([]byte, ms.ValueSize)}}
		}
		t, err := newTable(ms, r.memory)
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, ".rodata") {
			t.lookup(number(0)).readOnly = true
		}
		r.tables[name], r.handles[t.handle.start] = t, t
	}
	if err := r.setVariables(spec); err != nil {
		return err
	}
	for entry := range e.Entries(seed) {
		t := r.tables[entry.Map]
		if t == nil {
			return fmt.Errorf("no map %q", entry.Map)
		}
		if err := t.update(entry.Key, entry.Value, updateAny); err != 0 {
			return fmt.Errorf("put %x in map %s: error %d", entry.Key, entry.Map, err)
		}
	}
	return nil
}

// setVariables puts what was set in the specification into global data.
func (r *Runner) setVariables(spec *ebpf.CollectionSpec) error {
	for name, v := range spec.Variables {
		t := r.tables[v.SectionName]
		if t == nil || int(v.Offset)+len(v.Value) > int(t.ValueSize) {
			return fmt.Errorf("variable %s is not in a section of data", name)
		}
		r.memory.state.WriteBytes(t.lookup(number(0)).start+uint64(v.Offset), v.Value)
	}
	return nil
}

// isData tells whether a map is a section of global data.
func isData(name string) bool { return strings.HasPrefix(name, ".") }

// recordCore notes what the compiler recorded for CO-RE relocations. A loader
// refuses an instruction that holds something else.
func (r *Runner) recordCore(fn *bpf.Function) error {
	for _, b := range fn.Blocks {
		for _, in := range b.Code {
			sym := fn.Symbol(in.Ref)
			if sym == nil || sym.Kind != bpf.SymbolCore {
				continue
			}
			v := uint64(in.Imm)
			if in.PatchesOffset() {
				v = uint64(in.Off)
			}
			if known, ok := r.core[sym.Name]; ok && known != v {
				return fmt.Errorf("%s: %v: relocation %s was recorded as %d before, now as %d", fn.Name, in, sym.Name, known, v)
			}
			r.core[sym.Name] = v
		}
	}
	return nil
}

// symbol is what a loader puts in the place of a symbol.
func (r *Runner) symbol(s *bpf.Symbol) (uint64, error) {
	switch s.Kind {
	case bpf.SymbolMap:
		if t := r.tables[s.Name]; t != nil {
			return t.handle.start, nil
		}
	case bpf.SymbolData:
		return r.data(s.Name)
	case bpf.SymbolCore:
		if v, ok := r.core[s.Name]; ok {
			return v, nil
		}
	case bpf.SymbolFunc:
		if s.Func != nil {
			return r.code(s.Func), nil
		}
	}
	return 0, errors.New("the interpreter has no value for it")
}

// data is the address of a section and an offset in it, as in .rodata+8.
func (r *Runner) data(name string) (uint64, error) {
	i := strings.LastIndexAny(name, "+-")
	if i < 0 {
		return 0, errors.New("not an offset in a section")
	}
	off, err := strconv.ParseInt(name[i:], 10, 64)
	t := r.tables[name[:i]]
	if err != nil || t == nil {
		return 0, errors.New("not an offset in a section of data")
	}
	return t.lookup(number(0)).start + uint64(off), nil
}

// code is an address that stands for a function.
func (r *Runner) code(fn *bpf.Function) uint64 {
	for addr, known := range r.codes {
		if known == fn {
			return addr
		}
	}
	addr := r.memory.allocate("code of "+fn.Name, 0).start
	r.codes[addr] = fn
	return addr
}
