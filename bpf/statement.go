package bpf

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Tables from text to opcode, the reverse of those that String uses.
var (
	aluOps    = reverse(aluSymbols)
	jumpOps   = reverse(jumpSymbols)
	lockedOps = reverse(atomicSymbols)
	fetchOps  = reverse(fetchNames)
)

func reverse[K, V comparable](m map[K]V) map[V]K {
	r := make(map[V]K, len(m))
	for k, v := range m {
		r[v] = k
	}
	return r
}

// instruction reads a line by its first word.
func (t *tokens) instruction() Instruction {
	switch word := t.peek(0); word {
	case "exit":
		t.next()
		return Instruction{Op: ClassJMP | OpExit}
	case "goto", "gotol", "may_goto":
		t.next()
		in := Instruction{Op: map[string]Op{
			"goto": ClassJMP | OpJA, "gotol": ClassJMP32 | OpJA, "may_goto": ClassJMP | OpJCond,
		}[word]}
		t.target(&in)
		return in
	case "call":
		t.next()
		return t.call()
	case "callx":
		t.next()
		return Instruction{Op: ClassJMP | OpCall | SourceX, Dst: t.wide()}
	case "if":
		t.next()
		return t.condition()
	case "lock":
		t.next()
		return t.locked()
	case "*":
		return t.store()
	case "store_release":
		t.next()
		return t.storeRelease()
	}
	return t.assignment()
}

func (t *tokens) call() Instruction {
	in := Instruction{Op: ClassJMP | OpCall}
	switch {
	case t.accept("kfunc"):
		in.Src = CallKfunc
	case t.accept("local") || t.peek(0) == "@":
		in.Src = CallLocal
	}
	in.Ref, in.Imm = t.operand(t.imm32)
	if in.Src == CallKfunc && t.accept("btf") {
		in.Off = t.off()
	}
	return in
}

func (t *tokens) condition() Instruction {
	dst, narrow := t.register()
	in := Instruction{Op: ClassJMP, Dst: dst}
	if narrow {
		in.Op = ClassJMP32
	}
	word := t.next()
	op, ok := jumpOps[word]
	if !ok {
		t.fail("%s where a comparison should be", found(word))
	}
	in.Op |= op
	if _, _, ok := isRegister(t.peek(0)); ok {
		in.Op |= SourceX
		in.Src = t.registerOf(narrow)
	} else {
		in.Imm = t.imm32()
	}
	t.expect("goto")
	t.target(&in)
	return in
}

// pointer reads (u32 *)(r1 + 4) into in's size, offset and symbol.
func (t *tokens) pointer(in *Instruction) (base Register) {
	t.typeOf(in)
	t.expect("(")
	base = t.place(in)
	t.expect(")")
	return base
}

// typeOf reads (u32 *) into in's opcode. A signed type makes a plain load
// sign-extending and is wrong for all else.
func (t *tokens) typeOf(in *Instruction) {
	t.expect("(")
	word := t.next()
	t.expect("*", ")")
	if len(word) < 2 || word[0] != 'u' && word[0] != 's' {
		t.fail("%s where u8 to u64 or s8 to s32 should be", found(word))
		return
	}
	bits, err := strconv.Atoi(word[1:])
	size, ok := SizeOp(bits / 8)
	if err != nil || !ok || bits%8 != 0 {
		t.fail("%s where u8 to u64 or s8 to s32 should be", found(word))
		return
	}
	in.Op |= size
	if word[0] == 'u' {
		return
	}
	if in.Op.Class() != ClassLDX || in.Op.Mode() != ModeMem {
		t.fail("only loads take a signed type")
	}
	in.Op = in.Op&^modeMask | ModeMemSX
}

// place reads r1 + 4 or r1 - 4.
func (t *tokens) place(in *Instruction) (base Register) {
	base = t.wide()
	switch {
	case t.accept("+", "@"):
		in.Ref = Ref(t.number(1, math.MaxInt32))
		if t.accept(":") {
			in.Off = t.off()
		}
	case t.peek(0) == "-":
		in.Off = t.off()
	default:
		t.expect("+")
		in.Off = t.off()
	}
	return base
}

func (t *tokens) off() int16 { return int16(t.number(math.MinInt16, math.MaxInt16)) }

// value reads a register that is stored: a w register will do where no more
// than its bits count.
func (t *tokens) value(in Instruction) Register {
	r, narrow := t.register()
	if narrow && in.Size() == 8 {
		t.fail("want r%d, not w%[1]d", uint8(r))
	}
	return r
}

func (t *tokens) store() Instruction {
	in := Instruction{Op: ClassST | ModeMem}
	t.expect("*")
	in.Dst = t.pointer(&in)
	t.expect("=")
	if _, _, ok := isRegister(t.peek(0)); ok {
		in.Op = in.Op&^classMask | ClassSTX
		in.Src = t.value(in)
	} else {
		in.Imm = t.imm32()
	}
	return in
}

func (t *tokens) storeRelease() Instruction {
	in := Instruction{Op: ClassSTX | ModeAtomic, Imm: AtomicStRel}
	t.expect("(")
	in.Dst = t.pointer(&in)
	t.expect(",")
	in.Src = t.value(in)
	t.expect(")")
	return in
}

func (t *tokens) locked() Instruction {
	in := Instruction{Op: ClassSTX | ModeAtomic}
	t.expect("*")
	in.Dst = t.pointer(&in)
	word := t.next()
	op, ok := lockedOps[word]
	if !ok {
		t.fail("%s where +=, |=, &= or ^= should be", found(word))
	}
	in.Imm = op
	in.Src = t.registerOf(in.Size() == 4)
	return in
}

// assignment reads a line that begins with the destination.
func (t *tokens) assignment() Instruction {
	dst, narrow := t.register()
	in := Instruction{Op: ClassALU64, Dst: dst}
	if narrow {
		in.Op = ClassALU
	}
	word := t.next()
	if word == "=" {
		return t.set(in, narrow)
	}
	symbol, signed := strings.CutPrefix(word, "s")
	if signed && word != "s>>=" {
		in.Off = 1
	} else {
		symbol = word
	}
	op, ok := aluOps[symbol]
	if !ok {
		t.fail("%s where = or an operation should be", found(word))
	}
	in.Op |= op
	return t.second(in, narrow)
}

// second reads an arithmetic instruction's second operand.
func (t *tokens) second(in Instruction, narrow bool) Instruction {
	if _, _, ok := isRegister(t.peek(0)); ok {
		in.Op |= SourceX
		in.Src = t.registerOf(narrow)
		return in
	}
	in.Ref, in.Imm = t.operand(t.imm32)
	return in
}

// set reads what stands behind "rN =", where in has the destination.
func (t *tokens) set(in Instruction, narrow bool) Instruction {
	word := t.peek(0)
	if _, _, ok := isRegister(t.peek(1)); word == "-" && ok {
		t.next()
		t.same(in.Dst, narrow)
		in.Op |= OpNeg
		return in
	}
	switch {
	case word == "(":
		return t.extend(in, narrow)
	case word == "*":
		return t.load(in.Dst, narrow)
	case strings.HasPrefix(word, "be"), strings.HasPrefix(word, "le"), strings.HasPrefix(word, "bswap"):
		return t.swap(in, narrow)
	case t.peek(1) == "(":
		return t.function(in, narrow)
	}
	in.Op |= OpMov
	if _, _, ok := isRegister(word); ok {
		return t.second(in, narrow)
	}
	if !narrow && slices.Contains(t.left, "ll") {
		return t.loadImm64(in.Dst, PseudoImm)
	}
	return t.second(in, narrow)
}

// same reads a register that has to be the destination.
func (t *tokens) same(dst Register, narrow bool) {
	if r := t.registerOf(narrow); r != dst && t.err == nil {
		t.fail("want %s, not %s", reg(dst, narrow), reg(r, narrow))
	}
}

// loadImm64 reads the number of a 64-bit immediate and the ll behind it.
func (t *tokens) loadImm64(dst, pseudo Register) Instruction {
	in := Instruction{Op: LoadImm64, Dst: dst, Src: pseudo}
	in.Ref, in.Imm = t.operand(t.imm64)
	if pseudo != PseudoImm {
		t.expect(")")
	}
	t.expect("ll")
	return in
}

// extend reads (s8)r2.
func (t *tokens) extend(in Instruction, narrow bool) Instruction {
	t.expect("(")
	word := t.next()
	t.expect(")")
	bits, ok := map[string]int16{"s8": 8, "s16": 16, "s32": 32}[word]
	if !ok {
		t.fail("%s where s8, s16 or s32 should be", found(word))
	}
	in.Op |= OpMov | SourceX
	in.Off = bits
	in.Src = t.registerOf(narrow)
	return in
}

// load reads a plain load or a legacy packet load.
func (t *tokens) load(dst Register, narrow bool) Instruction {
	t.expect("*")
	if t.peek(4) == "skb" {
		return t.packetLoad(dst)
	}
	in := Instruction{Op: ClassLDX | ModeMem, Dst: dst}
	in.Src = t.pointer(&in)
	if narrow && (in.Size() == 8 || in.Op.Mode() == ModeMemSX) {
		t.fail("want r%d, not w%[1]d", uint8(dst))
	}
	return in
}

func (t *tokens) packetLoad(dst Register) Instruction {
	in := Instruction{Op: ClassLD | ModeAbs, Dst: dst}
	t.typeOf(&in)
	t.expect("skb", "[")
	if r, narrow, ok := isRegister(t.peek(0)); ok && !narrow {
		t.next()
		in.Op = in.Op&^modeMask | ModeInd
		in.Src = r
	}
	if in.Op.Mode() == ModeAbs || t.peek(0) != "]" {
		in.Imm = t.imm32()
	}
	t.expect("]")
	return in
}

// swap reads be16 r1.
func (t *tokens) swap(in Instruction, narrow bool) Instruction {
	if narrow {
		t.fail("want r%d, not w%[1]d", uint8(in.Dst))
	}
	word := t.next()
	name := strings.TrimRight(word, "0123456789")
	bits, err := strconv.Atoi(word[len(name):])
	op, ok := map[string]Op{
		"be": ClassALU | OpEnd | SourceX, "le": ClassALU | OpEnd, "bswap": ClassALU64 | OpEnd,
	}[name]
	if err != nil || !ok {
		t.fail("%s where be16, le16, bswap16, … should be", found(word))
	}
	in.Op, in.Imm = op, int64(bits)
	t.same(in.Dst, false)
	return in
}

// function reads what looks like a call: atomics that give a value, and 64-bit
// immediates that a loader replaces.
func (t *tokens) function(in Instruction, narrow bool) Instruction {
	word := t.next()
	t.expect("(")
	for kind, name := range pseudoNames {
		if name != "" && name == word && !narrow {
			return t.loadImm64(in.Dst, Register(kind))
		}
	}
	if word == "addr_space_cast" && !narrow {
		return t.cast(in)
	}
	out := Instruction{Op: ClassSTX | ModeAtomic, Src: in.Dst}
	op, isFetch := fetchOps[word]
	switch {
	case isFetch:
		out.Imm = op | AtomicFetch
		out.Dst = t.pointer(&out)
		t.exchanged(&out, in.Dst, narrow)
	case word == "load_acquire":
		out = Instruction{Op: ClassSTX | ModeAtomic, Dst: in.Dst, Imm: AtomicLoadAcq}
		out.Src = t.pointer(&out)
		if narrow && out.Size() == 8 {
			t.fail("want r%d, not w%[1]d", uint8(in.Dst))
		}
	case word == "xchg_64", word == "xchg32_32":
		out.Imm = AtomicXchg
		out.Op |= exchangeSize(word)
		out.Dst = t.place(&out)
		t.exchanged(&out, in.Dst, narrow)
	case word == "cmpxchg_64", word == "cmpxchg32_32":
		out.Imm = AtomicCmpXchg
		out.Op |= exchangeSize(word)
		out.Dst = t.place(&out)
		t.exchanged(&out, R0, narrow)
		t.expect(",")
		out.Src = t.registerOf(narrow)
		if in.Dst != R0 {
			t.fail("cmpxchg gives its value to %s alone", reg(R0, narrow))
		}
	default:
		t.fail("%s is no operation", found(word))
	}
	t.expect(")")
	return out
}

// cast reads what follows addr_space_cast( : the source, the address space to
// which it is cast and the one that it is in.
func (t *tokens) cast(in Instruction) Instruction {
	in.Op |= OpMov | SourceX
	in.Off = OffCast
	in.Src = t.wide()
	t.expect(",")
	to := t.number(0, math.MaxInt16)
	t.expect(",")
	in.Imm = to<<16 | t.number(0, math.MaxInt16)
	t.expect(")")
	return in
}

func exchangeSize(name string) Op {
	if strings.HasSuffix(name, "_64") {
		return SizeDW
	}
	return SizeW
}

// exchanged reads the register whose value goes to memory and that, by the same
// name, receives the old one.
func (t *tokens) exchanged(in *Instruction, dst Register, narrow bool) {
	t.expect(",")
	if narrow != (in.Size() == 4) {
		t.fail("want %s, not %s", reg(dst, !narrow), reg(dst, narrow))
	}
	t.same(dst, narrow)
}
