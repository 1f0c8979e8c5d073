package toml

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// write puts a k2.toml into a new folder.
func write(t *testing.T, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

var sameSettings = cmpopts.IgnoreUnexported(Config{})

func TestLoad(t *testing.T) {
	tests := []struct {
		name, text string
		change     func(*Config) // from the defaults
	}{
		{"empty", "", func(*Config) {}},
		{"goal", `goal = "verifier"`, func(c *Config) { c.Goal, c.Limits = GoalVerifier, defaultLimits(GoalVerifier) }},
		{"limits", "[limit]\ncode = \"12.5%\"\ntime = \"none\"", func(c *Config) {
			c.Limits.Code, c.Limits.Time = Limit{true, 12.5}, Limit{}
		}},
		{"limits of another goal", "limit.slots = \"1%\"\ngoal = \"size\"", func(c *Config) {
			c.Goal, c.Limits = GoalSize, defaultLimits(GoalSize)
			c.Limits.Slots = Limit{true, 1}
		}},
		{"clang by name", `clang = "clang-19"`, func(c *Config) { c.Clang = "clang-19" }},
		{"clang by absolute path", `clang = "/opt/clang"`, func(c *Config) { c.Clang = "/opt/clang" }},
		{"isa", `isa = "v2"`, func(c *Config) { c.ISA = 2 }},
		{"isa auto", `isa = "auto"`, func(*Config) {}},
		{"strict", `strict = true`, func(c *Config) { c.Strict = true }},
		{"passes", `passes = "rules,search"`, func(c *Config) { c.Passes = "rules,search" }},
		{"kernel", `kernel = "require"`, func(c *Config) { c.Kernel = KernelRequire }},
		{"budget", "[budget]\nwindow = \"500ms\"\nobject = \"1m\"", func(c *Config) {
			c.Budget = Budget{500 * time.Millisecond, time.Minute}
		}},
		{"window as inline table", `window = { size = 8 }`, func(c *Config) { c.Window.Size = 8 }},
		{"window as dotted key", `window.size = 8`, func(c *Config) { c.Window.Size = 8 }},
		{"memory", "[memory]\nshared = [\n  \"packet\", # others write\n]", func(c *Config) {
			c.Memory.Shared = []Region{RegionPacket}
		}},
		{"passes on IR", "[llvm]\npasses = [\"k2-widen\", \"k2-merge\"]", func(c *Config) {
			c.LLVM.Passes = []IRPass{IRWiden, IRMerge}
		}},
		{"nothing shared", "[memory]\nshared = []", func(c *Config) { c.Memory.Shared = []Region{} }},
		{"an override leaves the rest alone", "[[override]]\nprogram = \"f\"\ngoal = \"size\"", func(*Config) {}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Load(write(t, test.text))
			if err != nil {
				t.Fatal(err)
			}
			want := Default()
			test.change(want)
			if diff := cmp.Diff(want, got, sameSettings); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoadRelativeClang(t *testing.T) {
	file := write(t, `clang = "./tools/clang"`)
	got, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(filepath.Dir(file), "tools/clang"); got.Clang != want {
		t.Errorf("got %s, want %s: paths start at the file's folder", got.Clang, want)
	}
}

func TestLoadErrors(t *testing.T) {
	tests := []struct {
		name, text string
		want       string // the errors, FILE for the file's path
	}{
		{"misspelt key", "\n# a comment\n\ngoall = \"size\"", `FILE:4: unknown key "goall" (did you mean "goal"?)`},
		{"key like no other", "colour = 1", `FILE:1: unknown key "colour"`},
		{"unknown key in a table", "[budget]\nwindow = \"1s\"\nobjekt = \"1s\"",
			`FILE:3: unknown key "budget.objekt" (did you mean "object"?)`},
		{"unknown table", "goal = \"size\"\n[wndow]\nsize = 1", `FILE:2: unknown key "wndow" (did you mean "window"?)`},
		{"unknown key behind values of several lines",
			"clang = \"\"\"\na = 1\nb = 2\"\"\"\npasses = '''\n[x]\n'''\n[memory]\nshared = [\n\"map\",\n]\nsared = 1",
			`FILE:11: unknown key "memory.sared" (did you mean "shared"?)`},
		{"unknown key inside a value of several lines", "a = [\n1,\n2]\n", `FILE:1: unknown key "a"`},
		{"unknown key of the first of two overrides",
			"[[override]]\nprogram = \"a\"\nx = 1\n[[override]]\nprogram = \"b\"",
			`FILE:3: unknown key "override.x"`},
		{"unknown key of the second of two overrides",
			"[[override]]\nprogram = \"a\"\n[[override]]\nprogram = \"b\"\n\n[override.budget]\nobject = \"1s\"",
			`FILE:7: unknown key "override.budget.object"`},
		{"override of what holds for a whole file", "[[override]]\nsection = \"xdp\"\nstrict = true",
			`FILE:3: unknown key "override.strict"`},
		{"skip outside of an override", "skip = true", `FILE:1: unknown key "skip"`},
		{"program outside of an override", `program = "f"`, `FILE:1: unknown key "program"`},
		{"wrong goal", `goal = "fast"`,
			`FILE:1: goal: want "balanced", "size", "latency" or "verifier", got "fast"`},
		{"wrong type", `goal = 3`,
			`FILE:1: goal: want "balanced", "size", "latency" or "verifier", got the number 3`},
		{"wrong isa", `isa = "v5"`, `FILE:1: isa: want "auto", "v1", "v2", "v3" or "v4", got "v5"`},
		{"string for a boolean", `strict = "yes"`, `FILE:1: strict: want true or false, got the string "yes"`},
		{"boolean for a string", `clang = true`, `FILE:1: clang: want a string, got true`},
		{"wrong kernel", `kernel = true`, `FILE:1: kernel: want "on", "off" or "require", got true`},
		{"value for a table", "budget = \"2s\"", `FILE:1: budget: want a table, got the string "2s"`},
		{"duration without unit", "[budget]\nwindow = \"2\"", `FILE:2: budget.window: want a duration like "2s", got "2"`},
		{"number for a duration", "[budget]\nwindow = 2", `FILE:2: budget.window: want a duration like "2s", got the number 2`},
		{"no time", "[budget]\nobject = \"0s\"", `FILE:2: budget.object: want more than no time, got "0s"`},
		{"more time than can be multiplied", "[budget]\nobject = \"1000000h\"", `FILE:2: budget.object: want at most 1000h, got "1000000h"`},
		{"window too small", "window.size = 0", `FILE:1: window.size: want 1 to 1024 instructions, got 0`},
		{"window too large", "window.size = 1025", `FILE:1: window.size: want 1 to 1024 instructions, got 1025`},
		{"fraction of an instruction", "window.size = 2.5", `FILE:1: window.size: want a number of instructions, got the number 2.5`},
		{"wrong region", `memory.shared = ["stack"]`, `FILE:1: memory.shared: want "map", "packet" or "other", got "stack"`},
		{"region for a list", `memory.shared = "map"`, `FILE:1: memory.shared: want a list of regions, got the string "map"`},
		{"a date", `memory.shared = [2026-01-01]`, `FILE:1: memory.shared: want "map", "packet" or "other", got a date`},
		{"limit without a unit", `limit.code = "5"`, `FILE:1: limit.code: want "none" or "0%" to "1000%", got "5"`},
		{"limit below nothing", `limit.time = "-1%"`, `FILE:1: limit.time: want "none" or "0%" to "1000%", got "-1%"`},
		{"limit without an end", `limit.slots = "NaN%"`, `FILE:1: limit.slots: want "none" or "0%" to "1000%", got "NaN%"`},
		{"number for a limit", `limit.verifier = 5`, `FILE:1: limit.verifier: want a percentage like "5%" or "none", got the number 5`},
		{"region listed twice", `memory.shared = ["map", "map"]`, `FILE:1: memory.shared: "map" is listed twice`},
		{"override without pattern", "\n[[override]]\nskip = true", `FILE:2: override: names neither program nor section`},
		{"empty pattern", "[[override]]\nprogram = \"\"", `FILE:2: override.program: the pattern is empty`},
		{"broken pattern", "[[override]]\nsection = \"a[\"", `FILE:2: override.section: "a[" is no valid pattern`},
		{"number for a pattern", "[[override]]\nsection = 1", `FILE:2: override.section: want a pattern, got the number 1`},
		{"override is a value", "override = 1", `FILE:1: override: want [[override]] tables, got the number 1`},
		{"override is one table", "[override]\nprogram = \"f\"", `FILE:1: override: want [[override]] tables, got a table`},
		{"unknown key of an inline override", "override = [\n{ program = \"f\", foo = 1 },\n]", `FILE:1: unknown key "override.foo"`},
		{"several, in order", "b = 1\na = 1\nisa = 3",
			"FILE:1: unknown key \"b\"\nFILE:2: unknown key \"a\"\n" +
				`FILE:3: isa: want "auto", "v1", "v2", "v3" or "v4", got the number 3`},
		{"key set twice", "goal = \"size\"\ngoal = \"size\"", `FILE:2: Key 'goal' has already been defined.`},
		{"no TOML", "goal = \"size\"\n\ngoal size", "FILE:3: expected '.' or '=', but got 's' instead"},
		{"too large", strings.Repeat("#", maxFileSize+1), `FILE:1: file is larger than 32768 bytes`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := write(t, test.text)
			_, err := Load(file)
			if err == nil {
				t.Fatalf("no error, want %s", test.want)
			}
			if got := strings.ReplaceAll(err.Error(), file, "FILE"); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestLoadKeepsWhatIsRight(t *testing.T) {
	got, err := Load(write(t, "strict = true\ngoall = 1"))
	if err == nil || !got.Strict {
		t.Errorf("got strict %v with %v, want true and an error", got.Strict, err)
	}
	got, err = Load(filepath.Join(t.TempDir(), "missing.toml"))
	if !os.IsNotExist(unwrap(err)) {
		t.Errorf("missing file: got %v", err)
	}
	if diff := cmp.Diff(Default(), got, sameSettings); diff != "" {
		t.Errorf("missing file: %s", diff)
	}
}

func unwrap(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil {
			return err
		}
		err = inner.Unwrap()
	}
}

func TestFor(t *testing.T) {
	const text = `
goal = "latency"
limit.verifier = "9%"

[[override]]
section = "tracepoint/*"
goal = "size"
window.size = 4
limit.code = "7%"

[[override]]
program = "f?o"
isa = "v1"
passes = "rules"
budget.window = "1s"

[[override]]
program = "foo"
section = "tracepoint/syscalls/*"
goal = "verifier"

[[override]]
program = "never[0-9]"
skip = true
`
	tests := []struct {
		name, program, section string
		change                 func(*Config)
	}{
		{"none matches", "bar", "xdp", func(*Config) {}},
		{"a star matches slashes", "bar", "tracepoint/syscalls/sys_enter_open", func(c *Config) {
			c.Goal, c.Window.Size = GoalSize, 4
		}},
		{"by name", "fxo", "xdp", func(c *Config) {
			c.ISA, c.Passes, c.Budget.Window = 1, "rules", time.Second
		}},
		{"the last one wins", "foo", "tracepoint/syscalls/x", func(c *Config) {
			c.Goal, c.Window.Size = GoalVerifier, 4
			c.ISA, c.Passes, c.Budget.Window = 1, "rules", time.Second
		}},
		{"both patterns have to match", "foo", "tracepoint/net/x", func(c *Config) {
			c.Goal, c.Window.Size = GoalSize, 4
			c.ISA, c.Passes, c.Budget.Window = 1, "rules", time.Second
		}},
		{"skip", "never7", "xdp", func(c *Config) { c.Skip = true }},
		{"a pattern matches the whole name", "xfoo", "xdp", func(*Config) {}},
	}
	config, err := Load(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := Default()
			want.Goal = GoalLatency
			test.change(want)
			want.Limits = defaultLimits(want.Goal)
			want.Limits.Verifier = atMost(9)
			if strings.HasPrefix(test.section, "tracepoint/") {
				want.Limits.Code = atMost(7)
			}
			got := config.For(test.program, test.section)
			if diff := cmp.Diff(*want, got, sameSettings); diff != "" {
				t.Error(diff)
			}
		})
	}
	if config.Goal != GoalLatency || config.Skip {
		t.Error("For changed the file's own settings")
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	folders := func(names ...string) {
		for _, name := range names {
			if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	folders("repo/.git", "repo/src/deep", "inner/sub/.git", "inner/sub/src", "folder/k2.toml", "folder/src")
	for _, name := range []string{FileName, "repo/src/" + FileName, "repo/src/deep/other.toml"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ name, dir, want string }{
		{"in the folder itself", "repo/src", "repo/src/k2.toml"},
		{"in a parent", "repo/src/deep", "repo/src/k2.toml"},
		{"not above the repository", "repo", ""},
		{"not above a repository in between", "inner/sub/src", ""},
		{"outside of any repository", "inner", "k2.toml"},
		{"a folder of that name is none", "folder/src", "k2.toml"},
		{"the folder need not exist", "repo/src/gone", "repo/src/k2.toml"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := Find(filepath.Join(root, test.dir))
			want := test.want
			if want != "" {
				want = filepath.Join(root, want)
			}
			if got != want || ok != (want != "") {
				t.Errorf("got %q %v, want %q", got, ok, want)
			}
		})
	}
}

func TestFindFromRelativeFolder(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, FileName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	got, ok := Find(".")
	if !ok || !filepath.IsAbs(got) || filepath.Base(got) != FileName {
		t.Errorf("got %q %v", got, ok)
	}
}

// FuzzParse checks that no text makes the reader panic, that settings are
// complete whatever the text, and that problems name lines that exist.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "goal = \"size\"", "[budget]\nwindow = \"1s\"\n[memory]\nshared = [\n\"map\"]",
		"[[override]]\nprogram = \"a*\"\nskip = true\n[[override]]\nx = 1",
		"override = [{ program = \"f\" }, 3]", "a.b.c = { d = [[1], { e = 2 }] }",
		"goal = '''\n\n'''\n\"a\\nb\" = 1", "isa = 1979-05-27T07:32:00Z\r\nkernel = nan",
		"[override]\n[[budget]]\n[window.size]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		config := Default()
		problems, _ := config.parse(text, topLevel)
		lines := strings.Count(string(text), "\n") + 1
		for _, p := range problems {
			if p.line < 1 || p.line > lines || p.text == "" {
				t.Errorf("problem %+v of %d lines", p, lines)
			}
		}
		for _, c := range []Config{*config, config.For("f", "xdp/a")} {
			if c.Goal == "" || c.ISA < 0 || c.ISA > 4 || c.Window.Size < 1 ||
				c.Budget.Window <= 0 || c.Budget.Object <= 0 || c.Kernel == "" {
				t.Errorf("incomplete settings %+v", c)
			}
		}
	})
}
