package driver

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/passes/lint"
)

func (d *driver) lintCommand() *cli.Command {
	return &cli.Command{
		Name:      "lint",
		Usage:     "count what compilers leave behind in objects, and say why it is left",
		ArgsUsage: "FOLDER|FILE.o|FILE.c…",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "optimise", Usage: "optimise the objects, and count what is left then as well"},
			&cli.BoolFlag{Name: "sites", Usage: "list each place"},
			&cli.StringFlag{Name: "config", Usage: "read settings from `FILE` instead of the nearest k2.toml"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return fmt.Errorf("lint: want objects")
			}
			return d.lint(c.Args().Slice(), c.Bool("optimise"), c.Bool("sites"), ownOptions{config: c.String("config")})
		},
	}
}

// lint prints a table of patterns over all objects.
func (d *driver) lint(names []string, optimise, list bool, own ownOptions) error {
	ctx, stop := d.listen()
	defer stop()
	objects, err := d.gather(ctx, names, own)
	var before, after []lint.Site
	for i, c := range objects {
		d.progress(i, len(objects), c.name)
		found, left, err := d.lintObject(ctx, c, optimise)
		if ctx.signal() != 0 {
			break
		}
		if err != nil {
			d.say("%s: %v", c.name, err)
			continue
		}
		before, after = append(before, found...), append(after, left...)
		if !optimise {
			left = found
		}
		if list {
			d.listSites(c.name, left)
		}
	}
	d.progress(len(objects), len(objects), "")
	switch {
	case ctx.signal() != 0:
		return cli.Exit("", d.end(ctx.signal()))
	case err != nil:
		return fmt.Errorf("lint: %w", err)
	}
	d.printSites(before, after, optimise)
	return nil
}

// lintObject is the sites in an object, and in what becomes of it.
func (d *driver) lintObject(ctx context.Context, c candidate, optimise bool) (found, left []lint.Site, err error) {
	if c.err != nil {
		return nil, nil, c.err
	}
	opts := Options{Name: c.name, Config: c.settings.Config, Level: c.level}
	if found, err = sites(ctx, c.object, opts); err != nil || !optimise {
		return found, nil, err
	}
	out, _, err := d.optimizeInTime(ctx, c.object, task{name: c.name, settings: c.settings, level: c.level})
	if err != nil {
		return found, found, nil // as it was, which is what its user gets
	}
	left, err = sites(ctx, out, opts)
	return found, left, err
}

// sites is the sites in an object's functions.
func sites(ctx context.Context, in []byte, opts Options) ([]lint.Site, error) {
	file, err := object.Read(in)
	if err != nil {
		return nil, err
	}
	o := &rewriter{opts: opts, file: file}
	var all []lint.Site
	for _, fn := range file.Program().Functions {
		if found, err := lint.Find(ctx, fn, o.target(fn, opts.Config.For(fn.Name, fn.Section))); err == nil {
			all = append(all, found...)
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return all, nil
}

func (d *driver) listSites(name string, all []lint.Site) {
	for _, s := range all {
		fmt.Fprintf(d.Out, "%s: %s: block %d, instructions %d to %d: %s: %s\n", name, s.Function, s.Block, s.At, s.Last, s.Pattern, s.Why)
	}
}

// printSites writes how often each pattern was found, and why what is left is.
func (d *driver) printSites(before, after []lint.Site, optimised bool) {
	left := before
	t := newTable(d.Out)
	head := table.Row{"pattern", "found"}
	if optimised {
		left, head = after, append(head, "left")
	}
	t.AppendHeader(append(head, "why"))
	was, is := count(before), count(left)
	for _, name := range lint.Patterns() {
		if len(was[name]) == 0 && len(is[name]) == 0 {
			continue
		}
		row := table.Row{name, total(was[name])}
		if optimised {
			row = append(row, total(is[name]))
		}
		t.AppendRow(append(row, ""))
		for _, why := range slices.SortedFunc(maps.Keys(is[name]), mostFirst(is[name])) {
			row := table.Row{"", ""}
			if optimised {
				row = append(row, "")
			}
			t.AppendRow(append(row, fmt.Sprintf("%d: %s", is[name][why], why)))
		}
	}
	t.Render()
}

// count is how often each pattern is left for each reason.
func count(all []lint.Site) map[string]map[string]int {
	out := map[string]map[string]int{}
	for _, s := range all {
		if out[s.Pattern] == nil {
			out[s.Pattern] = map[string]int{}
		}
		out[s.Pattern][generic(s.Why)]++
	}
	return out
}

// generic is a reason without the instruction that it begins with.
func generic(why string) string {
	head, rest, ok := strings.Cut(why, ": ")
	if _, err := bpf.ParseCode(head); ok && err == nil {
		return rest
	}
	return why
}

func total(reasons map[string]int) (n int) {
	for _, c := range reasons {
		n += c
	}
	return n
}

func mostFirst(n map[string]int) func(a, b string) int {
	return func(a, b string) int { return cmp.Or(cmp.Compare(n[b], n[a]), cmp.Compare(a, b)) }
}
