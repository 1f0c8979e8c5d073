package toml

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestMerge(t *testing.T) {
	user := Source{Name: "user.toml", User: true, Text: []byte("goal = \"size\"\nisa = \"v2\"\nclang = \"a\"\ntrust = [\"/x\"]\nbudget.window = \"9s\"")}
	project := Source{Name: "/p/k2.toml", Text: []byte("isa = \"v3\"\nclang = \"./b\"\nstrict = true\n[[override]]\nprogram = \"f\"\ngoal = \"latency\"\nisa = \"v1\"\n[[override]]\nsection = \"xdp\"\nskip = true\nlimit.code = \"7%\"")}
	env := Source{Name: "the environment", Pairs: []Pair{{"isa", "K2CC_ISA", "v4"}, {"window.size", "K2CC_WINDOW_SIZE", "8"}}}
	line := Source{Name: "the command line", Pairs: []Pair{{"strict", "--k2-strict", "false"}, {"memory.shared", "--k2-memory-shared", "map,packet"}}}
	c, warnings, err := Merge([]Source{user, project, env, line})
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	var got []string
	for _, s := range c.Settings() {
		got = append(got, s.Key+"="+s.Value+" "+s.From)
	}
	want := []string{
		`budget.object="30s" `, `budget.window="9s" user.toml`, `clang="/p/b" /p/k2.toml`, `goal="size" user.toml`,
		`isa="v4" K2CC_ISA`, `kernel="on" `, `memory.shared=["map", "packet"] --k2-memory-shared`, `passes="" `,
		`override[1].program="f" /p/k2.toml`, `override[1].goal="latency" /p/k2.toml`, `override[1].isa="v1" /p/k2.toml`,
		`override[2].section="xdp" /p/k2.toml`, `override[2].skip=true /p/k2.toml`, `override[2].limit.code="7%" /p/k2.toml`,
		`strict=false --k2-strict`, `trust=["/x"] user.toml`, `window.size=8 K2CC_WINDOW_SIZE`,
	}
	if n := len(leaves(ofUser)) + 6; len(got) != n {
		t.Errorf("%d settings, want %d", len(got), n)
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("no %s in\n%s", line, strings.Join(got, "\n"))
		}
	}
	f := c.For("f", "x")
	if f.Goal != GoalLatency || f.ISA != 4 {
		t.Errorf("in an override: %s, %s; pairs hold over overrides", f.Goal, f.ISA)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	pipe, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 1<<40); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{pipe: "not a regular file", "/dev/zero": "not a regular file", dir: "not a regular file", filepath.Join(dir, "none"): "no such file"} {
		if _, err := Read(file); err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), file) != 1 {
			t.Errorf("%s: got %v, want %s", file, err, want)
		}
	}
	source, err := Read(large)
	if err != nil || len(source.Text) > maxFileSize+1 {
		t.Errorf("read %d bytes, %v", len(source.Text), err)
	}
	if _, _, err := Merge([]Source{source}); err == nil || !strings.Contains(err.Error(), "file is larger than") {
		t.Errorf("a large file: got %v", err)
	}
}

func TestFoundSettingsNameNoPrograms(t *testing.T) {
	text := []byte("clang = \"./evil\"\ngoal = \"size\"")
	c, warnings, err := Merge([]Source{{Name: "k2.toml", Text: text, Found: true}})
	if err != nil || c.Clang != "" || c.Goal != GoalSize || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "k2.toml: clang is ignored") {
		t.Errorf("got %q, %s, %q, %v", c.Clang, c.Goal, warnings, err)
	}
	if _, _, err := Merge([]Source{{Name: "k2.toml", Text: []byte(`trust = ["/"]`), Found: true}}); err == nil {
		t.Error("a file that was found says whom to trust")
	}
}

func TestMergeErrors(t *testing.T) {
	tests := []struct{ key, value, want string }{
		{"goal", "fast", `K2CC: want "balanced", "size", "latency" or "verifier", got "fast"`},
		{"strict", "maybe", `K2CC: want true or false, got "maybe"`},
		{"window.size", "many", `K2CC: want a number, got "many"`},
		{"window.size", "0", `K2CC: want 1 to 1024 instructions, got 0`},
		{"budget.object", "1", `K2CC: want a duration like "2s", got "1"`},
		{"memory.shared", "map,stack", `K2CC: want "map", "packet" or "other", got "stack"`},
		{"trust", "here", `K2CC: want an absolute path, got "here"`},
		{"none", "", `K2CC: there is no setting "none"`},
	}
	for _, test := range tests {
		_, _, err := Merge([]Source{{Pairs: []Pair{{test.key, "K2CC", test.value}}}})
		if err == nil || err.Error() != test.want {
			t.Errorf("%s=%s: got %v, want %s", test.key, test.value, err, test.want)
		}
	}
}

func TestEveryKeyCanBeListed(t *testing.T) {
	for key, e := range leaves(ofUser) {
		if e.get == nil {
			t.Errorf("%s has no getter", key)
		}
	}
}

func TestTrusts(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"good/sub", "bad"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dir, FileName), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../bad/k2.toml", filepath.Join(root, "good/k2.toml")); err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.Trust = []string{filepath.Join(root, "none"), filepath.Join(root, "good")}
	for name, want := range map[string]bool{"good/sub/k2.toml": true, "bad/k2.toml": false, "good/k2.toml": false, "none/k2.toml": false} {
		if got := c.Trusts(filepath.Join(root, name)); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	t.Setenv("HOME", root)
	c.Trust = []string{"~/bad"}
	if !c.Trusts(filepath.Join(root, "bad/k2.toml")) {
		t.Error("~ is not the home")
	}
}

func TestFindStopsAtHome(t *testing.T) {
	root := t.TempDir()
	home := filepath.Join(root, "home")
	if err := os.MkdirAll(filepath.Join(home, "src"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	if err := os.WriteFile(filepath.Join(root, FileName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if file, ok := Find(filepath.Join(home, "src")); ok {
		t.Errorf("found %s above the home", file)
	}
}
