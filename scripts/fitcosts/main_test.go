package main

import (
	"fmt"
	"testing"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/cost"
)

// The table that comes with k2cc has a line for every sample.
func TestSamples(t *testing.T) {
	all, err := samples()
	if err != nil {
		t.Fatal(err)
	}
	table := cost.Default()
	for _, in := range all {
		if table.Entries[cost.FormOf(in)] == nil {
			t.Errorf("%v is not in the table", in)
		}
	}
	if len(all) != len(table.Entries) {
		t.Errorf("%d samples, %d lines", len(all), len(table.Entries))
	}
}

// What is written is what is read.
func TestBytesText(t *testing.T) {
	each := func(size func(dst, src int) uint8) (e cost.Entry) {
		for dst := range e.Size {
			for src := range e.Size[dst] {
				e.Size[dst][src] = size(dst, src)
			}
		}
		return e
	}
	for _, tt := range []struct {
		name, text string
		size       func(dst, src int) uint8
	}{
		{"the same for all", "10", func(int, int) uint8 { return 10 }},
		{"nothing at all", "0", func(int, int) uint8 { return 0 }},
		{"by destination", "3333aaaaaaa", func(dst, _ int) uint8 { return map[bool]uint8{true: 3, false: 10}[dst < 4] }},
		{"by both", "", func(dst, src int) uint8 { return uint8(1 + dst + 3*src) }},
		{"not all measured", "", func(dst, src int) uint8 { return uint8(min(dst, 1) * (2 + src)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := each(tt.size)
			text := bytesText(&e)
			if tt.text != "" && text != tt.text {
				t.Errorf("written as %q, want %q", text, tt.text)
			}
			in, err := bpf.ParseCode("r1 += r2")
			if err != nil {
				t.Fatal(err)
			}
			table, err := cost.Parse(fmt.Sprintf("%v; %s; 1; 1", in[0], text))
			if err != nil {
				t.Fatal(err)
			}
			if got := table.Entries[cost.FormOf(in[0])]; got.Size != e.Size {
				t.Errorf("%q is read as %v, want %v", text, got.Size, e.Size)
			}
		})
	}
}

// Times lose what another measurement would not repeat.
func TestSettle(t *testing.T) {
	code, err := bpf.ParseCode("r1 += r2\nr1 += 5\nr1 *= r2\nr1 = *(u8 *)(r2 + 8)\nr1 = *(u64 *)(r2 + 1000)")
	if err != nil {
		t.Fatal(err)
	}
	table := &cost.Table{Entries: map[cost.Form]*cost.Entry{}}
	for i, times := range [][2]int{{290, 60}, {310, 50}, {860, 110}, {1200, 90}, {1130, 70}} {
		table.Entries[cost.FormOf(code[i])] = &cost.Entry{Latency: times[0], Work: times[1]}
	}
	k := &kernel{cycle: 280}
	k.settle(table)
	for i, want := range [][2]int{{280, 50}, {280, 50}, {840, 110}, {1120, 70}, {1120, 70}} {
		e := table.Entries[cost.FormOf(code[i])]
		if e.Latency != want[0] || e.Work != want[1] {
			t.Errorf("%v: %d and %d ps, want %v", code[i], e.Latency, e.Work, want)
		}
	}
}
