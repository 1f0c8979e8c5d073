package driver

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/k2cc/k2cc/examples"
	"github.com/k2cc/k2cc/verify"
)

// demoCommand is `k2cc demo`.
func (d *driver) demoCommand() *cli.Command {
	return &cli.Command{
		Name:      "demo",
		Usage:     "compile the project's examples with clang and with k2cc, and compare them",
		ArgsUsage: "FOLDER",
		Flags:     []cli.Flag{jsonFlag(), configFlag()},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return fmt.Errorf("demo: want one folder, got %d", c.NArg())
			}
			own := ownOptions{config: c.String("config")}
			gather := func(ctx context.Context) ([]candidate, error) { return d.gatherExamples(ctx, c.Args().First(), own) }
			return d.measureAll(gather, verify.Permitted(), c.Bool("json"), demoTable)
		},
	}
}

// gatherExamples compiles what is in the examples' folder. Maps and packets
// come with those that the project has.
func (d *driver) gatherExamples(ctx context.Context, dir string, own ownOptions) ([]candidate, error) {
	found, err := d.fromFolder(ctx, dir, own)
	if err != nil {
		return nil, err
	}
	for i := range found {
		e, err := examples.Find(found[i].name)
		if err == nil {
			found[i].example = &e
		}
		if found[i].err != nil {
			return nil, errors.Join(errors.New("an example does not compile"), found[i].err)
		}
	}
	return found, nil
}
