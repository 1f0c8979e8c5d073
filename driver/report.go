package driver

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/k2cc/k2cc/passes"
)

// Report says what was done to an object.
type Report struct {
	Functions []FunctionReport
	Kernel    string // why the kernel was not asked about the result, if it was not
	// Alone says which functions were not understood, and why. Those that
	// settings leave alone do not count.
	Alone []string
	IR    string // what became of passes on LLVM IR, if settings want some
	Cache string // why nothing was taken from earlier runs, if nothing could be
}

// misunderstood is what was not understood as an error of one line, nil if there
// is nothing.
func (r *Report) misunderstood() error {
	if r == nil || len(r.Alone) == 0 {
		return nil
	}
	text := r.Alone[0]
	if more := len(r.Alone) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return because("function not understood", errors.New(text))
}

// FunctionReport says what was done to one function. Sizes are in 8-byte
// slots; a 64-bit immediate load counts two.
type FunctionReport struct {
	Name, Section           string
	SlotsBefore, SlotsAfter int
	Windows                 int                     // windows looked at
	Rewrites                int                     // windows replaced
	Passes                  map[string]passes.Stats // by the pass's name
	Skipped                 string                  // why the function, or part of what was found, was left alone
	OutOfTime               bool                    // time ran out before all windows were looked at
	Unsearched              int                     // windows that were not searched, as the budget was spent
}

// outOfTime tells whether a part was not looked at since time ran out.
func (r *Report) outOfTime() bool {
	return r != nil && slices.ContainsFunc(r.Functions, func(f FunctionReport) bool { return f.OutOfTime })
}

// print writes the report as a table, under the object's name.
func (r *Report) print(w io.Writer, name string) {
	if r == nil {
		return
	}
	t := newTable(w)
	t.SetTitle("%s", name)
	t.AppendHeader(table.Row{"section", "function", "slots", "after", "saved", "windows", "rewrites", "note"})
	before, after, windows, rewrites := 0, 0, 0, 0
	for _, f := range r.Functions {
		t.AppendRow(table.Row{f.Section, f.Name, f.SlotsBefore, f.SlotsAfter,
			saved(f.SlotsBefore, f.SlotsAfter), f.Windows, f.Rewrites, f.Skipped})
		before += f.SlotsBefore
		after += f.SlotsAfter
		windows += f.Windows
		rewrites += f.Rewrites
	}
	t.AppendFooter(table.Row{"", "all", before, after, saved(before, after), windows, rewrites, ""})
	t.Render()
	r.printPasses(w)
	for _, line := range []string{r.IR, r.Kernel, r.Cache} {
		if line != "" {
			fmt.Fprintln(w, line)
		}
	}
}

// printPasses writes what became of each pass's candidates.
func (r *Report) printPasses(w io.Writer) {
	sum := map[string]passes.Stats{}
	for _, f := range r.Functions {
		for name, s := range f.Passes {
			total := sum[name]
			total.Add(s)
			sum[name] = total
		}
	}
	if len(sum) == 0 {
		return
	}
	t := newTable(w)
	t.AppendHeader(table.Row{"pass", "tried", "proven", "refuted", "unsafe", "undecided", "slots saved"})
	for _, name := range slices.Sorted(maps.Keys(sum)) {
		s := sum[name]
		t.AppendRow(table.Row{name, s.Tried, s.Proven, s.Refuted, s.Unsafe, s.Undecided, s.Slots})
	}
	t.Render()
}

// newTable returns a table in the style of all of k2cc's tables.
func newTable(w io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.Style().Format.Footer = text.FormatDefault
	return t
}

// saved is the share of slots that went away.
func saved(before, after int) string {
	if before == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(before-after)/float64(before))
}
