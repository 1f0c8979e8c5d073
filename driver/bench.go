package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/k2cc/k2cc/toml"
	"github.com/k2cc/k2cc/verify"
)

// benchCommand is `k2cc bench`.
func (d *driver) benchCommand() *cli.Command {
	return &cli.Command{
		Name:      "bench",
		Usage:     "optimise objects and measure what that brings",
		ArgsUsage: "FOLDER|FILE.o|FILE.c…",
		Description: "Folders are searched for objects and C files. One with a pack.py and a programs.tsv holds\n" +
			"published results: pack.py makes the objects. Misses are programs that are not as good as\n" +
			"they should be under the settings' goal. The exit code tells whether every program was\n" +
			"optimised, still loads and has not grown.",
		Flags: []cli.Flag{
			jsonFlag(), configFlag(),
			&cli.BoolFlag{Name: "ablation", Usage: "print instead what is lost, and how much sooner it ends, without each of the passes"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return errors.New("bench: want objects, C files or folders")
			}
			own := ownOptions{config: c.String("config")}
			gather := func(ctx context.Context) ([]candidate, error) { return d.gather(ctx, c.Args().Slice(), own) }
			if c.Bool("ablation") {
				return d.ablate(gather)
			}
			return d.measureAll(gather, verify.Permitted(), c.Bool("json"), benchTable)
		},
	}
}

// measureAll measures what gather finds and prints it. kernel is why no BPF
// can be loaded here, if so.
func (d *driver) measureAll(gather func(context.Context) ([]candidate, error), kernel error, asJSON bool,
	print func(io.Writer, measurements)) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	candidates, err := gather(ctx)
	if err != nil {
		return err
	}
	all := measurements{}
	if kernel != nil {
		all.NoKernel = kernel.Error()
	}
	all.Goal = commonGoal(candidates)
	// An empty cache, so that the first time is what it takes to find things out.
	cacheDir, err := os.MkdirTemp("", "k2cc-bench-")
	if err != nil {
		return fmt.Errorf("make a cache: %w", err)
	}
	defer os.RemoveAll(cacheDir)
	for i, c := range candidates {
		d.progress(i, len(candidates), c.name)
		m := d.measure(ctx, c, cacheDir, kernel)
		if ctx.Err() != nil {
			return cli.Exit("", exitInterrupted)
		}
		all.Objects = append(all.Objects, m)
	}
	d.progress(len(candidates), len(candidates), "")
	all.conclude()
	if err := printMeasurements(d.Out, all, asJSON, print); err != nil {
		return err
	}
	if len(all.Failures) > 0 {
		return cli.Exit("", exitFailure)
	}
	return nil
}

// commonGoal is the goal of all candidates, or "" where they have several.
func commonGoal(candidates []candidate) toml.Goal {
	var goal toml.Goal
	for i, c := range candidates {
		if i > 0 && c.settings.Goal != goal {
			return ""
		}
		goal = c.settings.Goal
	}
	return goal
}

func printMeasurements(w io.Writer, all measurements, asJSON bool, print func(io.Writer, measurements)) error {
	if !asJSON {
		print(w, all)
		return nil
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(all); err != nil {
		return fmt.Errorf("print measurements: %w", err)
	}
	return nil
}

// progress shows on a terminal which object is being worked on.
func (d *driver) progress(i, n int, name string) {
	f, ok := d.Err.(*os.File)
	if !ok {
		return
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return
	}
	const clearLine = "\r\x1b[K"
	if i == n {
		fmt.Fprint(f, clearLine)
		return
	}
	fmt.Fprintf(f, "%s[%d/%d] %s", clearLine, i+1, n, name)
}
