// Package object reads ELF objects with BPF code in them and writes them back
// with other code: functions go out as labelled blocks, and sizes, symbols,
// relocations, BTF.ext records and references to what moved follow them back
// in. What it does not understand it leaves alone, function by function where
// that is enough, and says why.
//
// A function's instructions refer to Symbols through Ref where the object has
// a relocation, and where a call leads to a function of the same section
// without one:
//
//   - A 64-bit immediate with a Ref has Imm 0. The symbol is a map, data, an
//     extern or a function, with what the object adds to it: two Refs differ
//     where the sums do. Data that is no weak symbol's is so many bytes from
//     the start of its section (Anchor), which is a symbol as well.
//   - A call with a Ref has Imm 0 and Src CallLocal, whether it leads to a
//     function of the object or, for SymbolExtern, to one of the kernel.
//   - An instruction with a CO-RE relocation keeps the Imm or Off that clang
//     wrote, which the loader replaces. The symbol's name says what is asked
//     for: kind, type and access string.
//
// A symbol can be put on other instructions of its function, as long as the
// input has one of the same form: a call, or a 64-bit immediate. A CO-RE
// relocation goes on any instruction but a jump. The callee of a symbol is
// left open where the symbol is weak, because a linker may replace it.
//
// Line records follow Instruction.Pos: each instruction keeps the line of the
// one that it stands for, and one that stands for none has the line of the
// instruction before it.
//
// An object whose code did not change is written back byte for byte. Where
// code changed, all DWARF sections (.debug_*) are dropped with their
// relocations and section symbols, because their addresses would no longer
// fit; .BTF stays as it is, and .BTF.ext keeps its records in step with the
// code.
package object
