package driver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
)

// standard stands for standard input or output in the place of a file.
const standard = "-"

func (d *driver) optCommand() *cli.Command {
	return &cli.Command{
		Name:      "opt",
		Usage:     "optimise an object that exists already, of whatever compiler",
		ArgsUsage: "IN.o",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "o", Usage: "write the object to `OUT.o`, which may be IN.o; - is standard output"},
			configFlag(),
			&cli.BoolFlag{Name: "report", Usage: "print what was done to standard error"},
			&cli.StringFlag{Name: "source", Usage: "take settings that hold for `FILE`, which the object was made from"},
			&cli.StringFlag{Name: "mcpu", Usage: "ISA `LEVEL` that the object was compiled for, as clang has it; without it, what the object uses"},
			&cli.StringFlag{Name: "alternative", Usage: "start from `FILE.o`, made from the same source by passes without proofs, where the kernel prefers it"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return fmt.Errorf("opt: want one object, got %d", c.NArg())
			}
			if c.String("o") == "" {
				return errors.New("opt: want a place for the object: -o OUT.o")
			}
			return d.opt(optTask{
				in: c.Args().First(), out: c.String("o"), source: c.String("source"),
				cpu: c.String("mcpu"), alternative: c.String("alternative"),
				own: ownOptions{config: c.String("config"), report: c.Bool("report")},
			})
		},
	}
}

// optTask is what k2cc opt is asked to do.
type optTask struct {
	in, out     string
	source      string // whose settings hold; empty: the input
	cpu         string // as of -mcpu
	alternative string // a file, or empty
	own         ownOptions
}

// name is what messages call the object.
func (t optTask) name() string {
	if t.source != "" {
		return t.source
	}
	return t.in
}

// opt optimises an object in a file or from standard input. As when compiling,
// the user gets the input's bytes if that fails, unless there is no solver.
func (d *driver) opt(o optTask) error {
	object, mode, err := d.input(o.in) // waits for standard input, which signals may end
	if err != nil {
		return err
	}
	ctx, stop := d.listen()
	defer stop()
	found, err := d.loadSettings(o.own, filepath.Dir(o.name()))
	d.warn(found)
	better, rep := object, (*Report)(nil)
	if err != nil {
		d.countFailure(err)
	} else {
		t := task{name: o.name(), settings: found, level: lowerLevel(int(found.ISA), cpuLevel(o.cpu))}
		t.alternative = readAlternative(o.alternative, found)
		better, rep, err = d.improveBytes(ctx, object, t)
	}
	switch {
	case ctx.signal() != 0:
		return cli.Exit("", d.end(ctx.signal()))
	case err != nil && found.Strict:
		return cli.Exit(fmt.Sprintf("%s: %v", o.name(), err), exitStrict)
	case kindOf(err) == noSolver:
		return fmt.Errorf("%s: %w", o.name(), err) // nothing can ever come of this command here
	case err != nil:
		better = object
	}
	if err := d.output(o.out, better, mode); err != nil {
		return err
	}
	if err != nil {
		d.say("%s: %v; using the object as it was", o.name(), err)
		return nil
	}
	d.warnOfRest(o.name(), rep)
	if o.own.report || d.env.report {
		rep.print(d.Err, o.name())
	}
	return nil
}

// input reads an object and its mode.
func (d *driver) input(name string) ([]byte, os.FileMode, error) {
	if name != standard {
		object, info, err := readObject(name)
		if err != nil {
			return nil, 0, err
		}
		return object, info.Mode(), nil
	}
	object, err := readBounded(d.In)
	return object, 0o644, err
}

// output writes an object.
func (d *driver) output(name string, object []byte, mode os.FileMode) error {
	if name != standard {
		return replaceFile(name, object, mode)
	}
	if _, err := d.Out.Write(object); err != nil {
		return fmt.Errorf("write object: %w", err)
	}
	return nil
}
