package driver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes"
	"github.com/k2cc/k2cc/passes/rules"
	"github.com/k2cc/k2cc/windows"
)

func (d *driver) learnCommand() *cli.Command {
	return &cli.Command{
		Name:      "learn",
		Usage:     "make rules of what search finds in objects",
		ArgsUsage: "IN.o…",
		Description: "Optimises objects and prints a rule for each rewrite that search found in them and\n" +
			"no rule would have: in the form of passes/rules, and proven for all registers,\n" +
			"immediates and offsets that it leaves open. The objects stay as they are.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "o", Usage: "write the rules to `FILE` instead of standard output"},
			&cli.StringFlag{Name: "config", Usage: "read settings from `FILE` instead of the nearest k2.toml"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return fmt.Errorf("learn: want objects to learn from")
			}
			return d.learn(c.Args().Slice(), c.String("o"), ownOptions{config: c.String("config")})
		},
	}
}

// learn prints or writes the rules learned from objects.
func (d *driver) learn(objects []string, out string, own ownOptions) error {
	ctx, stop := d.listen()
	defer stop()
	known, err := rules.Shipped()
	if err != nil {
		return err
	}
	var lessons []rules.Lesson
	for _, name := range objects {
		found, err := d.lessons(ctx, name, own)
		if ctx.signal() != 0 {
			return cli.Exit("", d.end(ctx.signal()))
		}
		if err != nil {
			return fmt.Errorf("learn from %s: %w", name, err)
		}
		lessons = append(lessons, found...)
	}
	learned := rules.Learn(ctx, encode.New(encode.Options{Resources: learnResources}), lessons, known)
	if ctx.signal() != 0 {
		return cli.Exit("", d.end(ctx.signal()))
	}
	var text strings.Builder
	for _, r := range learned {
		fmt.Fprintf(&text, "%v\n", r)
	}
	d.say("%d rewrites, %d rules", len(lessons), len(learned))
	if out != "" {
		return replaceFile(out, []byte(text.String()), 0o644)
	}
	if _, err := fmt.Fprint(d.Out, text.String()); err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	return nil
}

// learnResources bounds one of the proofs that a rule holds, in Z3's resource
// units. They are harder than those of windows, and nobody waits for them.
const learnResources = 5_000_000

// lessons is what search finds in an object.
func (d *driver) lessons(ctx context.Context, name string, own ownOptions) ([]rules.Lesson, error) {
	in, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	found, err := d.loadSettings(own, filepath.Dir(name))
	d.warn(found)
	if err != nil {
		return nil, err
	}
	b := &notebook{from: filepath.Base(name)}
	_, _, err = Optimize(ctx, in, Options{Name: name, Config: found.Config, Level: int(found.ISA), Wrap: b.read})
	return b.lessons, err
}

// notebook notes what search found in one object.
type notebook struct {
	from    string
	mu      sync.Mutex
	lessons []rules.Lesson
}

// read has a proposer that searches leave what it finds in the notebook.
func (b *notebook) read(p passes.Proposer) passes.Proposer {
	if s, ok := p.(passes.Searcher); ok {
		return reader{s, b}
	}
	return p
}

// reader is a proposer over whose shoulder a notebook looks.
type reader struct {
	passes.Searcher
	book *notebook
}

// Propose notes every candidate that is proven.
func (r reader) Propose(ctx context.Context, w *windows.Window, try passes.Try) int {
	return r.Searcher.Propose(ctx, w, func(code []bpf.Instruction) encode.Verdict {
		v := try(code)
		if v.Outcome == encode.Proven {
			r.book.mu.Lock()
			r.book.lessons = append(r.book.lessons, rules.Lesson{From: r.book.from, Window: w, Code: code})
			r.book.mu.Unlock()
		}
		return v
	})
}
