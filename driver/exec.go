package driver

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/semantics"
)

func (d *driver) execCommand() *cli.Command {
	return &cli.Command{
		Name:  "exec",
		Usage: "run a program on the interpreter, as the bpf_conformance suite asks its plugins to",
		Description: "Reads a program as hex on standard input, in little-endian wire format. R1 points to\n" +
			"MEMORY and R2 is its length in bytes; without MEMORY both are zero. Prints R0 in hex.",
		ArgsUsage: "[MEMORY]",
		Flags:     []cli.Flag{&cli.StringFlag{Name: "program", Usage: "run the program `HEX` instead of standard input's"}},
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return fmt.Errorf("exec: want at most one argument, the memory in hex, got %d", c.NArg())
			}
			program := c.String("program")
			if !c.IsSet("program") {
				text, err := io.ReadAll(c.App.Reader)
				if err != nil {
					return fmt.Errorf("exec: read program: %w", err)
				}
				program = string(text)
			}
			r0, err := execute(program, c.Args().First())
			if err != nil {
				return fmt.Errorf("exec: %w", err)
			}
			_, err = fmt.Fprintf(c.App.Writer, "%x\n", r0)
			return err
		},
	}
}

// execute runs a program on memory, both in hex.
func execute(program, memory string) (uint64, error) {
	code, err := unhex(program)
	if err != nil {
		return 0, fmt.Errorf("program: %w", err)
	}
	data, err := unhex(memory)
	if err != nil {
		return 0, fmt.Errorf("memory: %w", err)
	}
	raw, err := bpf.Decode(code, binary.LittleEndian)
	if err != nil {
		return 0, fmt.Errorf("program: %w", err)
	}
	fns, err := bpf.Subprograms(raw)
	if err != nil {
		return 0, fmt.Errorf("program: %w", err)
	}
	for _, r := range raw {
		if r.Op == bpf.LoadImm64 && r.Src != bpf.PseudoImm && r.Src != bpf.PseudoFunc {
			return 0, fmt.Errorf("program: slot %d: %v: there are no maps and no kernel variables here", r.Slot, r.Instruction)
		}
	}
	return newExec(data).Run(fns[0])
}

// unhex reads bytes as hex digits, with or without white space between them.
func unhex(text string) ([]byte, error) {
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if errors.Is(err, hex.ErrLength) {
		return nil, errors.New("an odd number of hex digits")
	}
	return b, err
}

// Where programs that are run by themselves find things.
const (
	execMemory   = 0x1_0000_0000
	execFunction = 0x2_0000_0000 // plus the slot at which the function starts
	execStackEnd = 0x3_0000_0000 // R10 of the outermost function
	execStack    = 8 * 512       // the size in bytes of as many frames as calls nest
)

// newExec makes a machine with some memory, a stack, and the helpers that need
// nothing else.
func newExec(memory []byte) *semantics.Exec {
	e := &semantics.Exec{State: &semantics.State{}}
	if len(memory) > 0 {
		e.WriteBytes(execMemory, memory)
		e.Regs[bpf.R1], e.Regs[bpf.R2] = execMemory, uint64(len(memory))
	}
	e.Regs[bpf.R10] = execStackEnd
	e.Check = func(addr uint64, size int, _ bool) error {
		within := func(low, length uint64) bool {
			return addr-low < length && addr-low+uint64(size) <= length
		}
		if within(execMemory, uint64(len(memory))) || within(execStackEnd-execStack, execStack) {
			return nil
		}
		return fmt.Errorf("no %d bytes of memory at %#x", size, addr)
	}
	e.Symbol = func(sym *bpf.Symbol) (uint64, error) { return execFunction + uint64(sym.Index), nil }
	e.Helper = execHelper
	return e
}

// execHelper answers the helpers that give a number and touch nothing, always
// in the same way.
func execHelper(id int32, _ [5]uint64) (uint64, error) {
	h, ok := semantics.HelperByID(id)
	if !ok {
		return 0, fmt.Errorf("there is no helper %d", id)
	}
	if h.Returns != semantics.ReturnScalar || h.NumArgs > 0 {
		return 0, fmt.Errorf("helper %s needs more than is here", h.Name)
	}
	return 0, nil
}
