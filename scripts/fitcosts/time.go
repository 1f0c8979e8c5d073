package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
)

// Programs have so many copies of what is measured. The difference between the
// two is free of what a run costs besides.
const fewCopies, manyCopies = 400, 2400

// times fills in how long the sample's form takes, in picoseconds.
func (k *kernel) times(sample bpf.Instruction, e *cost.Entry) error {
	work, err := k.perCopy(func(p *program, i int) { p.add(independent(sample, i)) })
	if err != nil {
		return err
	}
	e.Work = rounded(work)
	latency := k.cycle
	switch {
	case sample.IsALU() && !dependent(sample), sample.Op == bpf.LoadImm64:
		latency = 0 // it waits for nothing
	case sample.IsLoad():
		if latency, err = k.perCopy(func(p *program, i int) { chase(p, sample) }); err == nil {
			latency -= 2 * k.cycle
		}
	case dependent(sample):
		latency, err = k.perCopy(func(p *program, i int) { p.add(chained(sample, i)) })
	}
	e.Latency = rounded(latency)
	return err
}

// rounded is a time without digits that another measurement would not repeat.
func rounded(ps float64) int { return int(math.Round(max(ps, 0)/10) * 10) }

// dependent tells whether copies of the sample can be made to wait for each
// other.
func dependent(in bpf.Instruction) bool {
	if in.IsALU() {
		return in.UsesSrc() || in.Op.ALU() != bpf.OpMov
	}
	return in.IsAtomic()
}

// independent is copy number i of many that do not wait for each other.
func independent(in bpf.Instruction, i int) bpf.Instruction {
	free := bpf.Register(i % 8) // R8 has a number, R9 an address
	switch {
	case in.IsALU(), in.Op == bpf.LoadImm64:
		in.Dst = free
		if in.UsesSrc() {
			in.Src = bpf.R8
		}
	case in.IsLoad():
		in.Dst, in.Src, in.Off = free, bpf.R9, in.Off+int16(i%8*8)
	case in.IsStore():
		in.Dst, in.Off = bpf.R9, in.Off+int16(i%8*8)
		if in.Op.Class() == bpf.ClassSTX {
			in.Src = bpf.R8
		}
	case in.IsAtomic():
		in.Dst, in.Src, in.Off = bpf.R9, free, in.Off+int16(i%8*64)
		if in.Imm == bpf.AtomicCmpXchg {
			in.Src = bpf.R8
		}
	case in.IsCondJump():
		in.Dst = bpf.R7
		if in.UsesSrc() {
			in.Src = bpf.R8
		}
	}
	return in
}

// chained is copy number i of many that each wait for the one before.
func chained(in bpf.Instruction, i int) bpf.Instruction {
	in.Dst = bpf.R1
	switch {
	case in.IsAtomic():
		in.Dst, in.Src = bpf.R9, bpf.R1
	case in.UsesSrc() && in.Op.ALU() == bpf.OpMov:
		in.Dst, in.Src = bpf.Register(1+i%2), bpf.Register(2-i%2)
	case in.UsesSrc():
		in.Src = bpf.R8
	}
	return in
}

// chase makes the address of one load wait for what the one before has loaded.
func chase(p *program, load bpf.Instruction) {
	load.Dst, load.Src = bpf.R1, bpf.R9
	p.add(load)
	p.text("r1 &= 0\nr9 += r1")
}

// memory fills in what it costs to read what has just been written: all of it,
// and more than one store wrote. pair is the time of a store and a load by
// themselves.
func (k *kernel) memory(t *cost.Table, pair int) error {
	whole, err := k.perCopy(func(p *program, _ int) {
		p.text("*(u64 *)(r9 + 8) = r1\nr1 = *(u64 *)(r9 + 8)")
	})
	if err != nil {
		return err
	}
	part, err := k.perCopy(func(p *program, _ int) {
		p.text("*(u32 *)(r9 + 8) = r1\nr1 = *(u64 *)(r9 + 8)")
	})
	t.Forward, t.Stall = k.cycles(rounded(whole))-pair, k.cycles(rounded(part))-pair
	return err
}

// perCopy is the time in picoseconds that a copy of what add adds takes.
func (k *kernel) perCopy(add func(p *program, i int)) (float64, error) {
	few, err := k.run(fewCopies, add)
	if err != nil {
		return 0, err
	}
	many, err := k.run(manyCopies, add)
	return 1000 * (many - few) / (manyCopies - fewCopies), err
}

// run is the least time in nanoseconds that a run with n copies took.
func (k *kernel) run(n int, add func(p *program, i int)) (float64, error) {
	p := program{}
	p.prologue(k.values)
	for i := range n {
		add(&p, i)
	}
	p.epilogue()
	prog, err := k.load(p.ins)
	if err != nil {
		return 0, err
	}
	defer prog.Close()
	const rounds, repeat = 25, 300
	var nanos []float64
	for range rounds {
		_, mean, err := prog.Benchmark(make([]byte, 64), repeat, nil)
		if err != nil {
			return 0, fmt.Errorf("run: %w", err)
		}
		nanos = append(nanos, float64(mean.Nanoseconds()))
	}
	return slices.Min(nanos), nil
}

// kernel is what programs are loaded into.
type kernel struct {
	values *ebpf.Map // an array with one value, which programs work on
	cycle  float64   // picoseconds that an addition takes
}
