package driver

import (
	"fmt"
	"io"
	"math"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/k2cc/k2cc/toml"
	"github.com/k2cc/k2cc/verify"
)

// benchTable prints measurements next to published ones.
func benchTable(w io.Writer, all measurements) {
	sum := all.summary()
	t := measureTable(w, all.Goal, table.Row{"program", "clang", "K2", "k2cc", "saved", "K2 saved", "loads",
		"JITed bytes", "verifier insns", "ns/run", "s", "warm"})
	for _, m := range all.Objects {
		for i, p := range m.Programs {
			t.AppendRow(table.Row{m.programName(p), p.Before.Slots, known(p.K2), p.After.Slots,
				saved(p.Before.Slots, p.After.Slots), publishedShare(p), loads(p, all.NoKernel),
				fromTo(p.Before.JITed, p.After.JITed), fromTo(p.Before.Processed, p.After.Processed),
				nanos(p), seconds(i, m.Seconds), seconds(i, m.Warm)})
		}
	}
	t.AppendFooter(table.Row{fmt.Sprintf("mean of %d", sum.programs), sum.before, "", sum.after,
		sum.saved.percent(), sum.k2.percent(), sum.loads(all.NoKernel),
		sum.jited.change(), sum.processed.change(), sum.nanos.change(), fmt.Sprintf("%.1f", sum.seconds), fmt.Sprintf("%.1f", sum.warm)})
	t.Render()
	notes(w, all)
}

// demoTable prints measurements of objects with known inputs.
func demoTable(w io.Writer, all measurements) {
	sum := all.summary()
	t := measureTable(w, all.Goal, table.Row{"program", "clang", "k2cc", "saved", "loads", "alike",
		"JITed bytes", "verifier insns", "ns/run", "s", "warm"})
	for _, m := range all.Objects {
		for i, p := range m.Programs {
			t.AppendRow(table.Row{m.programName(p), p.Before.Slots, p.After.Slots,
				saved(p.Before.Slots, p.After.Slots), loads(p, all.NoKernel), m.alike(),
				fromTo(p.Before.JITed, p.After.JITed), fromTo(p.Before.Processed, p.After.Processed),
				nanos(p), seconds(i, m.Seconds), seconds(i, m.Warm)})
		}
	}
	t.AppendFooter(table.Row{fmt.Sprintf("mean of %d", sum.programs), sum.before, sum.after,
		sum.saved.percent(), sum.loads(all.NoKernel), "",
		sum.jited.change(), sum.processed.change(), sum.nanos.change(), fmt.Sprintf("%.1f", sum.seconds), fmt.Sprintf("%.1f", sum.warm)})
	t.Render()
	notes(w, all)
}

// measureTable has text on the left in its first column, and numbers on the
// right in all others.
func measureTable(w io.Writer, goal toml.Goal, header table.Row) table.Writer {
	t := newTable(w)
	if goal != "" {
		t.SetTitle("goal: %s", goal)
	}
	t.AppendHeader(header)
	var configs []table.ColumnConfig
	for i := range header {
		align := text.AlignRight
		if i == 0 {
			align = text.AlignLeft
		}
		configs = append(configs, table.ColumnConfig{Number: i + 1, Align: align, AlignHeader: align, AlignFooter: align})
	}
	t.SetColumnConfigs(configs)
	return t
}

// notes says below the table what is missing in it and why, and what is wrong.
func notes(w io.Writer, all measurements) {
	if all.NoKernel != "" {
		fmt.Fprintf(w, "Nothing was loaded: %s\n", all.NoKernel)
	}
	for _, m := range all.Objects {
		if m.Uncertain != "" {
			fmt.Fprintf(w, "%s: runs not compared: %s\n", m.Name, m.Uncertain)
		}
		for _, p := range m.Programs {
			switch {
			case p.Reason == "" || p.Loads == verify.Broken.String():
			case p.Loads == verify.Unknown.String():
				fmt.Fprintf(w, "%s: clang's does not load here either: %s\n", m.programName(p), p.Reason)
			default:
				fmt.Fprintf(w, "%s: %s\n", m.programName(p), p.Reason)
			}
		}
	}
	for _, miss := range all.Misses {
		fmt.Fprintf(w, "miss: %s\n", miss)
	}
	for _, failure := range all.Failures {
		fmt.Fprintf(w, "FAILED: %s\n", failure)
	}
}

const unknown = "-"

// known prints a number of which zero says nothing.
func known(n int) string {
	if n == 0 {
		return unknown
	}
	return fmt.Sprint(n)
}

func fromTo(before, after int) string {
	if before == 0 {
		return unknown
	}
	return fmt.Sprintf("%d → %s", before, known(after))
}

func nanos(p programMeasurement) string {
	return fromTo(int(math.Round(p.Before.Nanos)), int(math.Round(p.After.Nanos)))
}

func publishedShare(p programMeasurement) string {
	if p.K2 == 0 {
		return unknown
	}
	return saved(p.Before.Slots, p.K2)
}

// seconds prints a time of an object next to its first program.
func seconds(program int, s float64) string {
	if program > 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", s)
}

func loads(p programMeasurement, noKernel string) string {
	switch {
	case noKernel != "":
		return unknown
	case p.Loads == verify.Kept.String():
		return "yes"
	case p.Loads == verify.Broken.String():
		return "NO"
	}
	return "?"
}

// alike prints how many runs of each program did the same.
func (m objectMeasurement) alike() string {
	switch {
	case m.Unequal != "":
		return "NO"
	case m.Runs > 0:
		return fmt.Sprintf("%d×", m.Runs)
	}
	return unknown
}
