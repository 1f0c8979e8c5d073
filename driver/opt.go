package driver

import (
	"errors"
	"fmt"
	"io"
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
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return fmt.Errorf("opt: want one object, got %d", c.NArg())
			}
			if c.String("o") == "" {
				return errors.New("opt: want a place for the object: -o OUT.o")
			}
			return d.opt(c.Args().First(), c.String("o"), ownOptions{config: c.String("config"), report: c.Bool("report")})
		},
	}
}

// opt optimises an object in a file or from standard input. As when compiling,
// the user gets the input's bytes if that fails, unless there is no solver.
func (d *driver) opt(in, out string, own ownOptions) error {
	object, mode, err := d.input(in) // waits for standard input, which signals may end
	if err != nil {
		return err
	}
	ctx, stop := d.listen()
	defer stop()
	found, err := d.loadSettings(own, filepath.Dir(in))
	d.warn(found)
	better, rep := object, (*Report)(nil)
	if err != nil {
		d.countFailure(err)
	} else {
		t := task{name: in, settings: found, level: int(found.ISA)}
		better, rep, err = d.improveBytes(ctx, object, t)
	}
	switch {
	case ctx.signal() != 0:
		return cli.Exit("", d.end(ctx.signal()))
	case err != nil && found.Strict:
		return cli.Exit(fmt.Sprintf("%s: %v", in, err), exitStrict)
	case kindOf(err) == noSolver:
		return fmt.Errorf("%s: %w", in, err) // nothing can ever come of this command here
	case err != nil:
		better = object
	}
	if err := d.output(out, better, mode); err != nil {
		return err
	}
	if err != nil {
		d.say("%s: %v; using the object as it was", in, err)
		return nil
	}
	d.warnOfRest(in, rep)
	if own.report || d.env.report {
		rep.print(d.Err, in)
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
	object, err := io.ReadAll(d.In)
	if err != nil {
		return nil, 0, fmt.Errorf("read object: %w", err)
	}
	return object, 0o644, nil
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
