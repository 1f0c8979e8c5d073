package driver

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

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
