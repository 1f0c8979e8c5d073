package llvm

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/examples"
	"github.com/k2cc/k2cc/internal/proctest"
	"github.com/k2cc/k2cc/verify"
)

// update measures anew what docs/plugin.md says.
var update = flag.Bool("update", false, "write the figures in docs/plugin.md anew, which takes a quarter of an hour")

const (
	page  = root + "/docs/plugin.md"
	begin = "<!-- figures: go test ./passes/llvm/test -run Figures -update -timeout 1h -->\n"
	end   = "<!-- end of figures -->\n"
)

// programs are the sources that are measured, by their names on the page.
func programs(t *testing.T) (names []string, source map[string]string) {
	t.Helper()
	source = map[string]string{}
	for _, e := range examples.All() {
		names = append(names, e.Name)
		source[e.Name] = e.Source
	}
	packed, err := filepath.Glob("packed/*.bpf.c")
	if err != nil || len(packed) == 0 {
		t.Fatalf("found no programs with packed headers: %v", err)
	}
	for _, file := range packed {
		name := strings.TrimSuffix(file, ".bpf.c")
		names = append(names, name)
		source[name] = file
	}
	return names, source
}

// TestFigures wants every program on the page, or writes it.
func TestFigures(t *testing.T) {
	names, source := programs(t)
	text := get(t, page)
	before, rest, found := strings.Cut(text, begin)
	old, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("docs/plugin.md has no place for figures")
	}
	if !*update {
		for _, name := range names {
			if !strings.Contains(old, "| `"+name+"` |") {
				t.Errorf("docs/plugin.md has no figures for %s", name)
			}
		}
		return
	}
	proctest.Need(t, "clang-22")
	proctest.NeedKernel(t)
	var table strings.Builder
	table.WriteString("| program | clang | with the feature | passes on IR | passes on bytecode | both |\n|---|---|---|---|---|---|\n")
	var sum [5]int
	for _, name := range names {
		cells := figures(t, source[name])
		fmt.Fprintf(&table, "| `%s` |", name)
		for i, c := range cells {
			fmt.Fprintf(&table, " %s |", c)
			sum[i] += c.slots
		}
		table.WriteString("\n")
	}
	table.WriteString("| all |")
	for _, n := range sum {
		fmt.Fprintf(&table, " %d (%.1f %%) |", n, 100*float64(n-sum[0])/float64(sum[0]))
	}
	table.WriteString("\n")
	if err := os.WriteFile(page, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// figure is the size of an object's programs.
type figure struct {
	slots    int
	rejected int // programs that load as clang makes them, and not in this object
}

func (f figure) String() string {
	if f.rejected > 0 {
		return fmt.Sprintf("%d, %d rejected", f.slots, f.rejected)
	}
	return fmt.Sprint(f.slots)
}

// figures are those of a source as the table's columns have it.
func figures(t *testing.T, source string) (out []figure) {
	t.Helper()
	dir, file := filepath.Split(source)
	if dir == "" {
		dir = "."
	}
	passes := "K2CC_LLVM_PASSES=k2-merge,k2-widen"
	clang := append(examples.Flags(), "-mcpu=v3", "-c", file)
	feature := append([]string{"-Xclang", "-target-feature", "-Xclang", "+allows-misaligned-mem-access"}, clang...)
	full := "K2CC_PASSES=" // what is the default
	objects := []string{
		compile(t, dir, nil, "clang-22", clang...),
		compile(t, dir, nil, "clang-22", feature...),
		compile(t, dir, []string{"K2CC_RUNS=clang-22", "K2CC_RUNS_PASSES=k2-merge,k2-widen"}, "clang-22", withPlugin(t, clang...)...),
		compile(t, dir, []string{full}, "clang-22", withPlugin(t, clang...)...),
		compile(t, dir, []string{full, passes}, "clang-22", withPlugin(t, clang...)...),
	}
	for _, object := range objects {
		f, err := measure(t.Context(), []byte(objects[0]), []byte(object))
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		out = append(out, f)
	}
	return out
}

func measure(ctx context.Context, clangs, object []byte) (f figure, err error) {
	programs, err := verify.List(object)
	if err != nil {
		return figure{}, err
	}
	for _, p := range programs {
		f.slots += p.Slots
	}
	all, err := verify.Compare(ctx, clangs, object)
	if err != nil {
		return figure{}, err
	}
	for _, c := range all {
		if c.Verdict == verify.Broken {
			f.rejected++
		}
	}
	return f, nil
}
