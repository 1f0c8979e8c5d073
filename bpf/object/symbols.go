package object

import (
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

// record is what the writer emits for a symbol of a function, in the form that
// the instruction needs.
type record struct {
	call *ref      // nil where the input has no call of it
	imm  *ref      // nil where the input has no 64-bit immediate with it
	core extRecord // nil unless it is a CO-RE relocation
}

// use says what an instruction of the input refers to.
type use struct {
	index int // the record, -1 for none
	ref   *ref
	core  extRecord
}

// understand makes functions of the pieces that nothing speaks against.
func (f *File) understand() {
	maps := f.readMaps()
	called := f.calledPieces()
	passes := f.passesResults(called)
	for _, c := range f.order {
		for _, p := range c.pieces {
			if p.reason != "" {
				continue
			}
			b := &builder{f: f, p: p, maps: maps, index: map[any]int{}, names: map[string]bool{}}
			if err := b.build(); err != nil {
				p.freeze("%v", err)
				continue
			}
			context, half := contextOf(c.name, p.local || called[p])
			p.fn.Context, p.fn.HalfResult = context, half && !passes
		}
	}
	f.linkCallees()
}

// calledPieces are the functions that code of the object calls or takes the
// address of.
func (f *File) calledPieces() map[*piece]bool {
	out := map[*piece]bool{}
	for _, r := range f.refs {
		if f.code[r.section] == nil {
			continue
		}
		if p := f.targetPiece(r); p != nil {
			out[p] = true
		}
	}
	return out
}

// passesResults tells whether a function that is no program may call another
// program in its place (bpf_tail_call): its own caller then gets what that one
// returns, all of it.
func (f *File) passesResults(called map[*piece]bool) bool {
	for _, c := range f.order {
		for _, p := range c.pieces {
			context, _ := contextOf(c.name, p.local || called[p])
			if context == bpf.ContextNone && (p.raw == nil || slices.ContainsFunc(p.raw, isTailCall)) {
				return true
			}
		}
	}
	return false
}

func isTailCall(in bpf.Raw) bool {
	if !in.IsCall() || in.Op&bpf.SourceX != 0 || in.Src != bpf.CallHelper {
		return false
	}
	h, ok := semantics.HelperByID(int32(in.Imm))
	return ok && h.TailCall
}

func (f *File) targetPiece(r *ref) *piece {
	c := f.targetCode(r)
	if c == nil {
		return nil
	}
	_, off, _ := f.target(r)
	return c.pieceAt(off)
}

// linkCallees lists the functions and fills in the callees of symbols, once
// it is known which of them are understood.
func (f *File) linkCallees() {
	for _, c := range f.order {
		for _, p := range c.pieces {
			if p.fn == nil {
				continue
			}
			f.program.Functions = append(f.program.Functions, p.fn)
			for i := range p.fn.Symbols {
				s := &p.fn.Symbols[i]
				if s.Kind != bpf.SymbolFunc {
					continue
				}
				rec := p.records[s.Index]
				r := rec.call
				if r == nil {
					r = rec.imm
				}
				if to := f.targetPiece(r); to != nil && !f.weak(r) {
					s.Func = to.fn
				}
			}
		}
	}
}

// weak tells whether another object may replace what r leads to.
func (f *File) weak(r *ref) bool {
	return r.form != formPCRel && isWeak(&f.elf.symbols[r.reloc.sym])
}

// builder makes a function of a piece.
type builder struct {
	f     *File
	p     *piece
	maps  *mapTable
	index map[any]int // symbol by what it stands for
	names map[string]bool
	fn    *bpf.Function
}

func (b *builder) build() error {
	p := b.p
	b.fn = &bpf.Function{Name: p.name, Section: p.section.name, Global: !p.local}
	p.at = make([]use, len(p.raw))
	code := make([]bpf.Raw, len(p.raw))
	copy(code, p.raw)
	cores, err := b.cores()
	if err != nil {
		return err
	}
	bound := 0
	for i := range code {
		in := &code[i]
		if in.IsCall() && in.Op&bpf.SourceX != 0 {
			return errors.New("call to an address in a register")
		}
		if in.IsCast() {
			// 64-bit arithmetic on arena pointers is 32-bit, and accesses to
			// pages that are not there read zeros: rewrites that hold for
			// other memory do not hold for this (kernel/bpf/verifier.c,
			// adjust_reg_min_max_vals; Documentation/bpf/map_arena.rst).
			return errors.New("pointers into an arena")
		}
		p.at[i].index = -1
		off := in.Slot * bpf.SlotSize
		refs := p.section.refsIn(off, off+1)
		bound += len(refs)
		if err := b.bind(in, &p.at[i], refs, cores[i]); err != nil {
			return fmt.Errorf("instruction %d: %w", i, err)
		}
		if err := in.Valid(); err != nil {
			return fmt.Errorf("instruction %d: %w", i, err)
		}
	}
	if bound != len(p.section.refsIn(p.start, p.end)) {
		return errors.New("a relocation inside an instruction")
	}
	blocks, err := bpf.Split(code)
	if err != nil {
		return err
	}
	b.fn.Blocks = blocks
	if p.original, err = bpf.Place(blocks); err != nil {
		return err
	}
	p.fn = b.fn
	return nil
}

// cores finds the CO-RE relocations of the piece by instruction.
func (b *builder) cores() (map[int]extRecord, error) {
	out := map[int]extRecord{}
	order := b.f.elf.order
	for _, r := range b.f.ext.group(extCore, b.p.section).of(b.p) {
		i, ok := b.p.instruction(r.off(order))
		if !ok {
			return nil, errors.New("a CO-RE relocation inside an instruction")
		}
		if _, ok := out[i]; ok {
			return nil, fmt.Errorf("instruction %d has two CO-RE relocations", i)
		}
		out[i] = r
	}
	return out, nil
}

// bind gives the instruction its symbol.
func (b *builder) bind(in *bpf.Raw, at *use, refs []*ref, core extRecord) error {
	switch {
	case len(refs) > 1 || len(refs) == 1 && core != nil:
		return errors.New("more than one relocation")
	case core != nil:
		return b.bindCore(in, at, core)
	case len(refs) == 0:
		return nil
	}
	r := refs[0]
	isCall := in.Op == bpf.ClassJMP|bpf.OpCall && in.Src == bpf.CallLocal
	switch {
	case r.form == formImm64 && in.Op == bpf.LoadImm64 && in.Src == bpf.PseudoImm:
	case (r.form == formCall || r.form == formPCRel) && isCall:
	default:
		return fmt.Errorf("relocation of type %d does not fit it", r.reloc.typ)
	}
	key, sym, err := b.symbol(r)
	if err != nil {
		return err
	}
	i := b.intern(key, sym)
	rec := &b.p.records[i]
	if form := rec.form(in.Instruction); *form == nil {
		*form = r
	}
	in.Ref, in.Imm = bpf.Ref(i+1), 0
	*at = use{index: i, ref: r}
	return nil
}

// form is where the record keeps what to emit for in.
func (r *record) form(in bpf.Instruction) **ref {
	if in.IsCall() {
		return &r.call
	}
	return &r.imm
}

func (b *builder) bindCore(in *bpf.Raw, at *use, core extRecord) error {
	if in.IsCall() || in.IsJump() || in.IsExit() {
		return errors.New("CO-RE relocation of a jump")
	}
	name, err := b.f.coreName(core)
	if err != nil {
		return err
	}
	i := b.intern("core "+name, bpf.Symbol{Kind: bpf.SymbolCore, Name: name})
	b.p.records[i].core = core
	in.Ref = bpf.Ref(i + 1)
	*at = use{index: i, core: core}
	return nil
}

// intern is the index of the symbol for key, which is added if it is new. The
// name is made unique, since it is what others tell symbols apart by.
func (b *builder) intern(key any, s bpf.Symbol) int {
	if i, ok := b.index[key]; ok {
		return i
	}
	i := len(b.fn.Symbols)
	for b.names[s.Name] || s.Name == "" {
		s.Name = fmt.Sprintf("%s#%d", s.Name, i)
	}
	b.names[s.Name] = true
	s.Index = i
	b.index[key] = i
	b.fn.Symbols = append(b.fn.Symbols, s)
	b.p.records = append(b.p.records, record{})
	return i
}

// place is a symbol's identity: two references to one place are the same
// value. A weak symbol may yet be overridden, so it is only the same as itself.
type place struct {
	section int
	off     int64
	weak    uint32 // the ELF symbol, 0 where the place says all
}

// symbol describes what r leads to, and the key by which it is known.
func (b *builder) symbol(r *ref) (place, bpf.Symbol, error) {
	section, off, ok := b.f.target(r)
	key := place{section: section, off: off}
	if r.form == formPCRel {
		return key, b.funcSymbol(r), nil
	}
	elfSym := &b.f.elf.symbols[r.reloc.sym]
	if !ok && (elfSym.Shndx != 0 || elfSym.name == "") {
		return key, bpf.Symbol{}, fmt.Errorf("symbol %q is in no section", elfSym.name)
	}
	if !ok {
		key = place{off: r.addend, weak: r.reloc.sym}
		return key, bpf.Symbol{Kind: bpf.SymbolExtern, Name: externName(elfSym.name, r)}, nil
	}
	if isWeak(elfSym) {
		key.weak = r.reloc.sym
	}
	switch {
	case b.f.code[section] != nil:
		return key, b.funcSymbol(r), nil
	case r.form == formCall:
		return key, bpf.Symbol{}, fmt.Errorf("call into section %s", b.f.elf.sections[section].name)
	case isMaps(b.f.elf.sections[section].name):
		return key, b.maps.symbol(section, off), nil
	}
	data := bpf.Symbol{Kind: bpf.SymbolData, Name: b.f.dataName(section, off, elfSym, r.addend)}
	if key.weak == 0 {
		b.anchor(&data, section, off)
	}
	return key, data, nil
}

// dataAlign is what loaders and the kernel align a section of data to at most:
// it is the value of an array map (kernel/bpf/arraymap.c, array_map_alloc).
const dataAlign = 8

// anchor places data in its section. Linkers move whole sections, to where their
// alignment allows it (libbpf's linker.c, extend_sec), and loaders make one map of
// each. What is read-only by its name and its flags is frozen before programs are
// loaded, or its constants would not be known to the verifier.
func (b *builder) anchor(data *bpf.Symbol, section int, off int64) {
	s := b.f.elf.sections[section]
	data.Frozen = strings.HasPrefix(s.name, ".rodata") && elf.SectionFlag(s.Flags)&elf.SHF_WRITE == 0
	start := *data
	start.Name = fmt.Sprintf("%s%+d", s.name, 0)
	start.Align = uint8(min(max(s.Addralign, 1), dataAlign))
	i := b.intern(place{section: section}, start)
	b.fn.Symbols[i].Anchor = bpf.Ref(i + 1)
	data.Anchor, data.Offset = bpf.Ref(i+1), off
}

func externName(name string, r *ref) string {
	if r.form == formImm64 && r.addend != 0 || r.form == formCall && r.addend != 0 {
		return fmt.Sprintf("%s%+d", name, r.addend)
	}
	return name
}

// dataName is section+offset, or for a weak symbol name+addend.
func (f *File) dataName(section int, off int64, sym *symbol, addend int64) string {
	if isWeak(sym) {
		return fmt.Sprintf("%s%+d", sym.name, addend)
	}
	return fmt.Sprintf("%s%+d", f.elf.sections[section].name, off)
}

func (b *builder) funcSymbol(r *ref) bpf.Symbol {
	s := bpf.Symbol{Kind: bpf.SymbolFunc}
	c := b.f.targetCode(r)
	_, off, _ := b.f.target(r)
	switch p := c.pieceAt(off); {
	case p != nil && p.name != "" && off == int64(p.start):
		s.Name = p.name
	default:
		s.Name = fmt.Sprintf("%s%+d", c.name, off)
	}
	return s
}

// coreKinds are the names of enum bpf_core_relo_kind
// (include/uapi/linux/bpf.h).
var coreKinds = [...]string{
	"field_byte_offset", "field_byte_size", "field_exists", "field_signed",
	"field_lshift_u64", "field_rshift_u64", "type_id_local", "type_id_target",
	"type_exists", "type_size", "enumval_exists", "enumval_value", "type_matches",
}

// coreName names a CO-RE relocation by its kind, the index of its type in
// .BTF and its access string: field_byte_offset:7:0:1:2.
func (f *File) coreName(r extRecord) (string, error) {
	order := f.elf.order
	kind := order.Uint32(r[12:])
	if int(kind) >= len(coreKinds) {
		return "", fmt.Errorf("CO-RE relocation of unknown kind %d", kind)
	}
	strs, err := f.btfStrings()
	if err != nil {
		return "", err
	}
	access, err := cString(strs, order.Uint32(r[8:]))
	if err != nil {
		return "", fmt.Errorf("CO-RE access string: %w", err)
	}
	return fmt.Sprintf("%s:%d:%s", coreKinds[kind], order.Uint32(r[4:]), strings.ToValidUTF8(access, "?")), nil
}
