package driver

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/k2cc/k2cc/driver/stats"
)

func (d *driver) statsCommand() *cli.Command {
	return &cli.Command{
		Name:   "stats",
		Usage:  "print what was done over all runs",
		Before: noArguments,
		Flags: []cli.Flag{
			jsonFlag(),
			&cli.BoolFlag{Name: "zero", Usage: "begin to count anew"},
		},
		Action: func(c *cli.Context) error {
			store := stats.Store{Dir: d.cacheDir()}
			if c.Bool("zero") {
				return store.Zero()
			}
			counts, err := store.Read()
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return d.printJSON(counts)
			}
			d.printCounts(counts)
			return nil
		},
	}
}

func (d *driver) printJSON(value any) error {
	enc := json.NewEncoder(d.Out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(value); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// printCounts writes the statistics as a table.
func (d *driver) printCounts(c stats.Counts) {
	t := newTable(d.Out)
	t.SetTitle("since %s", c.Since.Format("2006-01-02 15:04:05 MST"))
	t.AppendRow(table.Row{"objects made smaller or faster", c.Optimised})
	t.AppendRow(table.Row{"objects without anything to gain", c.Unchanged})
	t.AppendRow(table.Row{"objects for which time ran out", c.OutOfTime})
	t.AppendRow(table.Row{"objects not searched to the end", c.Unsearched})
	appendSorted(t, "objects left as clang's, at least in part: ", c.Failed)
	appendSorted(t, "calls left to clang: ", c.Left)
	t.AppendSeparator()
	t.AppendRow(table.Row{"slots that clang emitted", c.SlotsBefore})
	t.AppendRow(table.Row{"slots after that", c.SlotsAfter})
	t.AppendRow(table.Row{"saved", saved(int(c.SlotsBefore), int(c.SlotsAfter))})
	t.Render()
}

func appendSorted(t table.Writer, what string, counts map[string]int64) {
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		t.AppendRow(table.Row{what + reason, counts[reason]})
	}
}

func (d *driver) configCommand() *cli.Command {
	return &cli.Command{
		Name:      "config",
		Usage:     "print each setting, its value and where that comes from",
		ArgsUsage: "[FOLDER]",
		Flags: []cli.Flag{
			jsonFlag(), configFlag(),
			&cli.StringFlag{Name: "get", Usage: "print the value of `KEY` alone, a list with commas between"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return fmt.Errorf("config: want one folder at most, got %d", c.NArg())
			}
			dir := "."
			if c.NArg() == 1 {
				dir = c.Args().First()
			}
			own := ownOptions{config: c.String("config")}
			if key := c.String("get"); key != "" {
				return d.configValue(dir, own, key)
			}
			return d.config(dir, own, c.Bool("json"))
		},
	}
}

// setting is a line of k2cc config.
type setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"`
}

// config prints the settings that hold for sources in a folder.
func (d *driver) config(dir string, own ownOptions, asJSON bool) error {
	found, err := d.loadSettings(own, dir)
	if err != nil {
		return err
	}
	d.warn(found)
	var all []setting
	for _, s := range found.Settings() {
		if s.From == "" {
			s.From = "default"
		}
		all = append(all, setting(s))
	}
	all = append(all, d.surroundings(found)...)
	if asJSON {
		return d.printJSON(all)
	}
	t := newTable(d.Out)
	t.AppendHeader(table.Row{"setting", "value", "from"})
	for _, s := range all {
		t.AppendRow(table.Row{s.Key, s.Value, s.From})
	}
	t.Render()
	return nil
}

// configValue prints one setting that holds for sources in a folder.
func (d *driver) configValue(dir string, own ownOptions, key string) error {
	found, err := d.loadSettings(own, dir)
	if err != nil {
		return err
	}
	value, ok := found.Value(key)
	if !ok {
		return fmt.Errorf("config: there is no setting %q", key)
	}
	_, err = fmt.Fprintln(d.Out, value)
	return err
}

// surroundings is what else an object depends on. Wrappers that cache objects
// may run k2cc config to tell compilers apart, so it says no more than that.
func (d *driver) surroundings(found settings) []setting {
	clang, err := d.findClang(found.Clang)
	text := ""
	if err != nil {
		clang = err.Error()
	} else {
		text, _, _ = strings.Cut(output(clang, "--version"), "\n")
	}
	out := []setting{
		{"(cache)", d.cacheDir(), d.cacheFrom()},
		{"(compiler)", clang, text},
		{"(k2cc)", version(), fingerprint("/proc/self/exe")},
	}
	if err == nil && len(found.LLVM.Passes) > 0 {
		plugin, err := d.findPlugin(clang)
		if err != nil {
			plugin = err.Error()
		}
		out = append(out, setting{"(plugin)", plugin, fingerprint(plugin)})
	}
	return out
}

// fingerprint tells builds of k2cc or its plugin apart that have the same version.
func fingerprint(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return ""
	}
	return fmt.Sprintf("sha256 %x", hash.Sum(nil)[:8])
}

func (d *driver) cacheFrom() string {
	switch {
	case d.env.cacheDir != "":
		return cacheVariable
	case d.cacheDir() == "":
		return "no home, and no folder of one's own for temporary files"
	}
	return "default"
}
