// Fitcosts measures what instructions cost in this kernel's JIT compiler on
// this processor and prints the table that package cost reads.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
)

func main() {
	if err := fit(); err != nil {
		fmt.Fprintln(os.Stderr, "fit-costs:", err)
		os.Exit(1)
	}
}

func fit() error {
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("raise the limit of locked memory: %w", err)
	}
	values, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8192, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("create a map: %w", err)
	}
	defer values.Close()
	k := &kernel{values: values}
	add := bpf.Instruction{Op: bpf.ClassALU64 | bpf.OpAdd | bpf.SourceX}
	if k.cycle, err = k.perCopy(func(p *program, i int) { p.add(chained(add, i)) }); err != nil {
		return err
	}
	all, err := samples()
	if err != nil {
		return err
	}
	t := &cost.Table{Entries: map[cost.Form]*cost.Entry{}}
	for _, in := range all {
		e := &cost.Entry{}
		if err := k.size(in, e); err != nil {
			return fmt.Errorf("size of %v: %w", in, err)
		}
		if err := k.times(in, e); err != nil {
			return fmt.Errorf("time of %v: %w", in, err)
		}
		t.Entries[cost.FormOf(in)] = e
	}
	k.settle(t)
	pair, err := bpf.ParseCode("*(u64 *)(r1 + 8) = r2\nr1 = *(u64 *)(r2 + 8)")
	if err != nil {
		return err
	}
	if err := k.memory(t, latency(t, pair)); err != nil {
		return err
	}
	return write(t, all)
}

func latency(t *cost.Table, code []bpf.Instruction) (sum int) {
	for _, in := range code {
		sum += t.Entries[cost.FormOf(in)].Latency
	}
	return sum
}

// settle gives forms that differ in their encoding alone the least time measured
// for any of them: what else the machine does only adds to it. A result is there
// at the end of a cycle.
func (k *kernel) settle(t *cost.Table) {
	least := map[cost.Form]*cost.Entry{}
	for f, e := range t.Entries {
		f = family(f)
		l := least[f]
		if l == nil {
			l = &cost.Entry{Latency: e.Latency, Work: e.Work}
			least[f] = l
		}
		l.Latency, l.Work = min(l.Latency, e.Latency), min(l.Work, e.Work)
	}
	for f, e := range t.Entries {
		l := least[family(f)]
		e.Latency, e.Work = k.cycles(l.Latency), l.Work
	}
}

// cycles is a time in picoseconds as whole cycles.
func (k *kernel) cycles(ps int) int {
	return rounded(math.Round(float64(ps)/k.cycle) * k.cycle)
}

// family is a form that stands for all that take the same time.
func family(f cost.Form) cost.Form {
	in := bpf.Instruction{Op: f.Op}
	f.Far = false
	switch {
	case in.IsCondJump(): // taken or not matters more than what is compared
		return cost.Form{Op: bpf.ClassJMP | bpf.OpJEq}
	case in.IsLoad():
		f.Op = f.Op&^bpf.SizeDW | bpf.SizeB
	case in.IsStore():
		f.Op = bpf.ClassSTX | bpf.ModeMem
	case in.Op == bpf.LoadImm64:
		if f.Operand != cost.Wide {
			f.Operand = cost.NoImmediate
		}
	case in.IsALU() && in.Op.ALU() != bpf.OpEnd:
		f.Operand = cost.NoImmediate
		if in.Op.ALU() != bpf.OpMov {
			f.Op &^= bpf.SourceX
		}
	}
	return f
}

func write(t *cost.Table, order []bpf.Instruction) error {
	w := bufio.NewWriter(os.Stdout)
	fmt.Fprint(w, `# What instructions cost on x86-64: form; bytes of machine code; latency; share
# of the time of many, both in picoseconds. Bytes that depend on registers have a
# digit (10 is a, 36 is A) for each, R0 to R10; for two registers a word of digits over the
# source for each destination. Written by scripts/fit-costs.
`)
	fmt.Fprintf(w, "date %s\ncpu %s\nkernel %s\n", time.Now().UTC().Format(time.DateOnly), processor(), release())
	fmt.Fprintf(w, "forward %d\nstall %d\n", t.Forward, t.Stall)
	for _, in := range order {
		e := t.Entries[cost.FormOf(in)]
		fmt.Fprintf(w, "%v; %s; %d; %d\n", in, bytesText(e), e.Latency, e.Work)
	}
	return w.Flush()
}

// bytesText is an entry's sizes as short as cost.Parse reads them.
func bytesText(e *cost.Entry) string {
	const unmeasured = '.'
	var words []string
	column := make([]byte, bpf.NumRegisters) // where only one register matters
	sizes, bySrc := map[uint8]bool{}, false
	for dst, row := range e.Size {
		word := make([]byte, len(row))
		column[dst] = unmeasured
		for src, n := range row {
			word[src] = unmeasured
			if n == 0 && !isEmpty(e) {
				continue
			}
			word[src] = cost.Digits[n]
			sizes[n] = true
			bySrc = bySrc || column[dst] != unmeasured && column[dst] != word[src]
			column[dst] = word[src]
		}
		words = append(words, string(word))
	}
	switch {
	case len(sizes) == 1:
		for n := range sizes {
			return strconv.Itoa(int(n))
		}
	case !bySrc:
		return string(column)
	}
	return strings.Join(words, " ")
}

// isEmpty tells whether a form has no machine code at all.
func isEmpty(e *cost.Entry) bool { return e.Size == cost.Entry{}.Size }

// processor is the model as the kernel names it.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); fields[name] == "" {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fmt.Sprintf("%s, family %s, model %s", fields["model name"], fields["cpu family"], fields["model"])
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
}
