package driver

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/k2cc/k2cc/toml"
)

// ablation is what came of all objects with one pass left out of the pipeline.
type ablation struct {
	pass          string // "" for none
	before, after int    // slots of all programs
	saved         mean   // per program
	seconds       float64
}

// ablate prints, for each pass of the built-in pipeline, what is lost without it.
func (d *driver) ablate(gather func(context.Context) ([]candidate, error)) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	candidates, err := gather(ctx)
	if err != nil {
		return err
	}
	names := strings.Split(defaultPipeline, ",")
	var all []ablation
	for i, pass := range append([]string{""}, names...) {
		d.progress(i, len(names)+1, "without "+pass)
		a, err := d.without(ctx, candidates, pass)
		if ctx.Err() != nil {
			return cli.Exit("", exitInterrupted)
		}
		if err != nil {
			return err
		}
		all = append(all, a)
	}
	d.progress(0, 0, "")
	fmt.Fprintln(d.Out, ablationTable(all))
	return nil
}

// without optimises all objects with the pipeline but for one pass.
func (d *driver) without(ctx context.Context, candidates []candidate, pass string) (ablation, error) {
	var rest []string
	for name := range strings.SplitSeq(defaultPipeline, ",") {
		if name != pass {
			rest = append(rest, name)
		}
	}
	passes := toml.Source{Name: "ablation", Pairs: []toml.Pair{{Key: "passes", Name: "passes", Value: strings.Join(rest, ",")}}}
	a := ablation{pass: pass}
	cold, err := os.MkdirTemp("", "k2cc-ablation-") // an empty cache: seconds are to be compared
	if err != nil {
		return a, fmt.Errorf("make an empty cache: %w", err)
	}
	defer os.RemoveAll(cold)
	for _, c := range candidates {
		if c.err != nil {
			return a, fmt.Errorf("%s: %w", c.name, c.err)
		}
		sources := append(append([]toml.Source{}, c.settings.sources...), passes)
		config, _, err := toml.Merge(sources)
		if err != nil {
			return a, fmt.Errorf("%s: %w", c.name, err)
		}
		start := time.Now()
		better, _, err := d.optimizeInTime(ctx, c.object, task{
			name: c.name, settings: settings{config, sources, nil}, level: c.level, cacheDir: filepath.Join(cold, "k2cc"),
		})
		a.seconds += time.Since(start).Seconds()
		if err != nil {
			return a, fmt.Errorf("%s without %s: %w", c.name, pass, err)
		}
		m := objectMeasurement{Name: c.name}
		if err := m.list(c, better); err != nil {
			return a, fmt.Errorf("%s without %s: %w", c.name, pass, err)
		}
		for _, p := range m.Programs {
			a.before, a.after = a.before+p.Before.Slots, a.after+p.After.Slots
			a.saved.add(float64(p.Before.Slots), float64(p.After.Slots))
		}
	}
	return a, nil
}

// ablationTable is a table in Markdown. The first row is the whole pipeline.
func ablationTable(all []ablation) string {
	t := table.NewWriter()
	t.AppendHeader(table.Row{"left out", "slots", "mean reduction", "lost without it", "seconds", "seconds that it takes"})
	whole := all[0]
	for _, a := range all {
		if a.pass == "" {
			t.AppendRow(table.Row{"nothing", fromTo(a.before, a.after), a.saved.percent(), "", fmt.Sprintf("%.1f", a.seconds), ""})
			continue
		}
		t.AppendRow(table.Row{
			"`" + a.pass + "`", fromTo(a.before, a.after), a.saved.percent(),
			fmt.Sprintf("%d slots, %.1f points", a.after-whole.after, a.saved.percentage()-whole.saved.percentage()),
			fmt.Sprintf("%.1f", a.seconds), fmt.Sprintf("%.1f", whole.seconds-a.seconds),
		})
	}
	return t.RenderMarkdown()
}
