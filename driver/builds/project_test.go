package builds

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// systems are ways to build testdata/project. Commands run in a build folder
// next to the folder source, with CC in the environment.
var systems = []struct {
	name      string
	needs     []string
	configure string
	build     string
}{
	{"make", []string{"make"}, "", "make -j8 -f ../source/Makefile CC=$CC"},
	{"make with jobserver, under bear", []string{"make", "bear"}, bearConfig,
		"bear --append --config bear.json -- make -j8 -f ../source/Makefile CC=$CC JOBS=+"},
	{"cmake", []string{"cmake", "make"}, "cmake -S ../source -B . -DCMAKE_C_COMPILER=$CC", "make -j8"},
	{"cmake with ccache", []string{"cmake", "ninja", "ccache"},
		"cmake -G Ninja -S ../source -B . -DCMAKE_C_COMPILER=$CC -DCMAKE_C_COMPILER_LAUNCHER=ccache", "ninja -v"},
	{"meson", []string{"meson", "ninja"}, "meson setup . ../source", "ninja -v"},
	{"ninja", []string{"ninja"},
		"{ echo cc = $CC; echo source = ../source; echo multiarch = $(uname -m)-linux-gnu; echo include ../source/rules.ninja; } >build.ninja; " +
			"ninja -t compdb >compile_commands.json", "ninja -v"},
}

// bearConfig tells bear which compiler to watch; by itself it knows those
// alone that are called as compilers used to be.
const bearConfig = `echo '{"compilation": {"compilers_to_recognize": [{"executable": "'$(command -v $CC)'"}]}}' >bear.json`

// steps are what is touched before each build, and the sources that it has to
// compile again.
var steps = []struct {
	name, touch string
	compiled    []string
}{
	{"first", "", []string{"egress", "format", "ingress", "main", "trace"}},
	{"again", "", nil},
	{"header of all but one", "bpf/flows.h", []string{"egress", "format", "ingress", "main"}},
}

// TestProject has each build system build the project with either compiler
// and compares what it says, what it rebuilds, and what it leaves behind.
func TestProject(t *testing.T) {
	for _, system := range systems {
		t.Run(system.name, func(t *testing.T) {
			t.Parallel()
			need(t, system.needs...)
			// The same folders for both, as objects hold their names.
			dir := t.TempDir()
			if err := os.CopyFS(filepath.Join(dir, "source"), os.DirFS("testdata/project")); err != nil {
				t.Fatal(err)
			}
			var history [2][]record
			var left [2]string
			for i, compiler := range compilers {
				history[i] = construct(t, dir, compiler, system.configure, system.build)
				left[i] = filepath.Join(dir, compiler)
				if err := os.Rename(filepath.Join(dir, "build"), left[i]); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(history[0], history[1], cmp.AllowUnexported(record{})); diff != "" {
				t.Errorf("builds differ: %s", diff)
			}
			compareObjects(t, left[0], left[1])
		})
	}
}

// record is what a build shows of itself, without the compiler's name.
type record struct {
	step     string
	said     []string // lines, sorted: jobs end in any order
	changed  []string // files
	commands any      // compile_commands.json
	depends  map[string]string
}

// construct builds the project in the folder build and returns what happened.
func construct(t *testing.T, dir, compiler, configure, build string) []record {
	t.Helper()
	out := filepath.Join(dir, "build")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"CC=" + compiler, "CCACHE_DIR=" + filepath.Join(dir, "ccache-"+compiler)}
	var history []record
	if configure != "" {
		said := shell(t, out, env, configure)
		history = append(history, record{step: "configure", said: lines(said, compiler), commands: commands(t, out, compiler)})
	}
	for _, step := range steps {
		before := stamps(t, out)
		if step.touch != "" {
			now := time.Now()
			if err := os.Chtimes(filepath.Join(dir, "source", step.touch), now, now); err != nil {
				t.Fatal(err)
			}
		}
		r := record{step: step.name, said: lines(shell(t, out, env, build), compiler)}
		for file, stamp := range stamps(t, out) {
			if !stamp.Equal(before[file]) {
				r.changed = append(r.changed, file)
			}
		}
		slices.Sort(r.changed)
		if diff := cmp.Diff(step.compiled, compiled(r.changed)); diff != "" {
			t.Errorf("%s with %s: compiled %s", step.name, compiler, diff)
		}
		r.commands, r.depends = commands(t, out, compiler), dependencies(t, out)
		history = append(history, r)
	}
	return history
}

// progress is what build systems put before a line.
var progress = regexp.MustCompile(`^\[[ \d/%]+\] `)

// lines sorts what a build said.
func lines(text, compiler string) []string {
	var all []string
	for line := range strings.Lines(anonymous(text, compiler)) {
		line = progress.ReplaceAllString(strings.TrimSpace(line), "")
		if line != "" && !strings.HasPrefix(line, "Program ") { // meson's list of what it found
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

// anonymous replaces the compiler's name, with or without its folder.
func anonymous(text, compiler string) string {
	path, err := exec.LookPath(compiler)
	if err != nil {
		path = compiler
	}
	text = strings.ReplaceAll(text, "clang version", "Clang version") // the product, not the program
	word := regexp.MustCompile(`(^|[\s"'=])(?:` + regexp.QuoteMeta(filepath.Dir(path)) + `/)?` + compiler + `($|[\s"',)])`)
	return word.ReplaceAllString(text, "${1}CC${2}")
}

// walk calls do for the files of a folder, by their names in it.
func walk(t *testing.T, dir string, do func(name string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil {
			do(name, info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stamps returns when the files of a folder were changed.
func stamps(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	times := map[string]time.Time{}
	walk(t, dir, func(name string, info fs.FileInfo) {
		times[name] = info.ModTime()
	})
	return times
}

// compiled returns the sources whose objects are among the files.
func compiled(files []string) []string {
	var sources []string
	for _, file := range files {
		if name, isObject := strings.CutSuffix(filepath.Base(file), ".o"); isObject {
			name, _, _ = strings.Cut(strings.TrimPrefix(name, "tool_"), ".")
			sources = append(sources, name)
		}
	}
	slices.Sort(sources)
	return sources
}

// commands returns compile_commands.json, if there is one, in the order of the
// files.
func commands(t *testing.T, dir, compiler string) any {
	t.Helper()
	file := filepath.Join(dir, "compile_commands.json")
	if !exists(file) {
		return nil
	}
	var entries []map[string]any
	if err := json.Unmarshal([]byte(anonymous(get(t, file), compiler)), &entries); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(entries) < 2 {
		t.Errorf("%s: %d entries", file, len(entries))
	}
	slices.SortFunc(entries, func(a, b map[string]any) int {
		return strings.Compare(a["file"].(string), b["file"].(string))
	})
	return entries
}

// dependencies returns the dependency files' texts.
func dependencies(t *testing.T, dir string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	walk(t, dir, func(name string, _ fs.FileInfo) {
		if filepath.Ext(name) == ".d" {
			texts[name] = get(t, filepath.Join(dir, name))
		}
	})
	return texts
}
