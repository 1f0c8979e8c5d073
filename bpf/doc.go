// Package bpf holds BPF code as data: instructions, the ISA level that each of
// them needs, functions made of labelled blocks, and a text form to read and
// write them. It knows nothing of files, analyses or proofs.
package bpf
