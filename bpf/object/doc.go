// Package object reads ELF objects with BPF code in them and writes them back
// with other code: functions go out as labelled blocks, and sizes, symbols,
// relocations, BTF.ext records and references to what moved follow them back
// in. What it does not understand it leaves alone, function by function where
// that is enough, and says why.
//
// An object whose code did not change is written back byte for byte. Where
// code changed, all DWARF sections (.debug_*) are dropped with their
// relocations and section symbols, because their addresses would no longer
// fit; .BTF stays as it is, and .BTF.ext keeps its records in step with the
// code.
package object
