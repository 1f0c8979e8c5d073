package cost

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/k2cc/k2cc/bpf"
)

// Entry is what a form costs.
type Entry struct {
	// Size is the machine code in bytes by destination and source register; 0
	// for what was not measured.
	Size [bpf.NumRegisters][bpf.NumRegisters]uint8
	// Latency is the time from the last operand to the result, Work the share of
	// the time of many independent ones, both in picoseconds.
	Latency, Work int
}

// Table is a measurement of one JIT compiler on one processor.
type Table struct {
	Date, CPU, Kernel string
	// Forward is what a load that reads what a store wrote takes in picoseconds
	// beyond the latencies of the two, negative where the processor knows what
	// is stored; Stall the same where the load reads more than the store wrote.
	Forward, Stall int
	Entries        map[Form]*Entry
}

//go:embed x86-64.txt
var x86 string

// Default is the table that comes with k2cc.
var Default = sync.OnceValue(func() *Table {
	t, _ := Parse(x86) // part of the program: that it parses is for tests to see
	return t
})

// Parse reads a table: a line for each form, with an instruction for a sample,
// bytes, latency and work. Bytes are one number, or one digit for
// each register in its place, or a word of such digits over source registers
// for each destination register. Lines at the top say what was measured where.
func Parse(text string) (*Table, error) {
	t := &Table{Entries: map[Form]*Entry{}}
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := t.line(line); err != nil {
			return nil, fmt.Errorf("table of costs, line %d: %w", n+1, err)
		}
	}
	return t, nil
}

func (t *Table) line(line string) error {
	columns := strings.Split(line, ";")
	if len(columns) != 4 {
		return t.heading(line)
	}
	code, err := bpf.ParseCode(columns[0])
	if err != nil || len(code) != 1 {
		return fmt.Errorf("%q is no instruction: %w", columns[0], err)
	}
	var e Entry
	if e.Size, err = parseSizes(strings.Fields(columns[1])); err != nil {
		return err
	}
	if e.Latency, err = strconv.Atoi(strings.TrimSpace(columns[2])); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	if e.Work, err = strconv.Atoi(strings.TrimSpace(columns[3])); err != nil {
		return fmt.Errorf("work: %w", err)
	}
	f := FormOf(code[0])
	if t.Entries[f] != nil {
		return fmt.Errorf("%q: there is a line for this form", columns[0])
	}
	t.Entries[f] = &e
	return nil
}

func (t *Table) heading(line string) (err error) {
	name, value, _ := strings.Cut(line, " ")
	value = strings.TrimSpace(value)
	switch name {
	case "date":
		t.Date = value
	case "cpu":
		t.CPU = value
	case "kernel":
		t.Kernel = value
	case "forward":
		t.Forward, err = strconv.Atoi(value)
	case "stall":
		t.Stall, err = strconv.Atoi(value)
	default:
		err = fmt.Errorf("%q is no line of a table", line)
	}
	return err
}

// Digits stand for numbers of bytes from 0 on.
const Digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

type sizes = [bpf.NumRegisters][bpf.NumRegisters]uint8

func parseSizes(words []string) (s sizes, err error) {
	for dst := range s {
		for src := range s[dst] {
			switch {
			case len(words) == 1 && len(words[0]) < bpf.NumRegisters:
				n, err := strconv.ParseUint(words[0], 10, 8)
				if err != nil {
					return s, fmt.Errorf("bytes: %w", err)
				}
				s[dst][src] = uint8(n)
			case len(words) == 1 && len(words[0]) == bpf.NumRegisters:
				s[dst][src] = digit(words[0][dst])
			case len(words) == bpf.NumRegisters && len(words[dst]) == bpf.NumRegisters:
				s[dst][src] = digit(words[dst][src])
			default:
				return s, fmt.Errorf("bytes: want 1 or %d words of digits, got %q", bpf.NumRegisters, words)
			}
		}
	}
	return s, nil
}

func digit(c byte) uint8 { return uint8(max(strings.IndexByte(Digits, c), 0)) }
