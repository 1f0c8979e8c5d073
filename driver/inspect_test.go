package driver

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/driver/stats"
)

func TestStats(t *testing.T) {
	needClang(t)
	dir := folder(t)
	t.Chdir(dir)
	t.Setenv(cacheVariable, filepath.Join(dir, "cache"))
	compileWith(keep, compileArgs...)
	compileWith(mark, compileArgs...)
	compileWith(failures[0].optimize, compileArgs...)
	compileWith(keep, "-O2", "--target=bpf", "-c", "wrong.c")
	compileWith(keep, "-O2", "--target=bpf", "-c", "good.c", "-o", "/dev/null")
	runWith(mark, "opt", "good.o", "-o", "out.o")
	for _, args := range [][]string{{"--version"}, {"-O2", "-c", "good.c"}, {"--version"}} {
		k2cc(t, dir, args...)
	}
	k2cc(t, dir, append([]string{"K2CC_DISABLE=1"}, compileArgs...)...)

	got := runWith(keep, "stats", "--json")
	var counts stats.Counts
	if err := json.Unmarshal([]byte(got.out), &counts); err != nil {
		t.Fatalf("%v: %+v", err, got)
	}
	if counts.Optimised != 2 || counts.Unchanged != 1 || counts.SlotsBefore != 4 || counts.SlotsAfter != 3 {
		t.Errorf("got %+v", counts)
	}
	for reason, n := range map[string]int64{"asks clang about itself": 2, "not for BPF": 1, "clang failed": 1,
		"clang wrote no BPF object": 1, "switched off (K2CC_DISABLE)": 1} {
		if counts.Left[reason] != n {
			t.Errorf("%s: got %d, want %d", reason, counts.Left[reason], n)
		}
	}
	if got := runWith(keep, "stats"); !strings.Contains(got.out, "calls left to clang: not for BPF") || !strings.Contains(got.out, "25.0%") {
		t.Errorf("got %s", got.out)
	}
	if got := runWith(keep, "stats", "--zero"); got != (result{}) {
		t.Errorf("got %+v", got)
	}
	if got := runWith(keep, "stats"); strings.Contains(got.out, "calls left") {
		t.Errorf("after --zero: %s", got.out)
	}
}

func TestConfig(t *testing.T) {
	clang := needClang(t)
	dir := folder(t)
	t.Chdir(dir)
	t.Setenv("K2CC_ISA", "v2")
	put(t, "k2.toml", "goal = \"size\"\nclang = \"evil\"\n[[override]]\nprogram = \"f\"\nskip = true")
	got := runWith(keep, "config", "--json")
	if got.code != 0 || !strings.Contains(got.errors, "clang is ignored") {
		t.Errorf("got %+v", got)
	}
	var all []setting
	if err := json.Unmarshal([]byte(got.out), &all); err != nil {
		t.Fatal(err)
	}
	at := map[string]setting{}
	for _, s := range all {
		at[s.Key] = s
	}
	for _, want := range []setting{
		{"goal", `"size"`, filepath.Join(dir, "k2.toml")}, {"isa", `"v2"`, "K2CC_ISA"}, {"clang", `""`, "default"},
		{"strict", "false", "default"}, {"override[1].program", `"f"`, filepath.Join(dir, "k2.toml")},
		{"override[1].skip", "true", filepath.Join(dir, "k2.toml")},
	} {
		if at[want.Key] != want {
			t.Errorf("got %+v, want %+v", at[want.Key], want)
		}
	}
	if s := at["(compiler)"]; s.Value != clang || !strings.Contains(s.From, "clang version") {
		t.Errorf("got %+v", s)
	}
	if again := runWith(keep, "config", "--json"); again.out != got.out {
		t.Error("a second answer differs")
	}
	t.Setenv("K2CC_LLVM_PASSES", "k2-widen")
	if got := runWith(keep, "config"); got.code != 0 || !strings.Contains(got.out, "(plugin)") {
		t.Errorf("got %+v", got)
	}
	put(t, "k2.toml", "goall = 1")
	if got := runWith(keep, "config"); got.code != exitFailure || !strings.Contains(got.errors, "goall") {
		t.Errorf("got %+v", got)
	}
}

func TestConfigValue(t *testing.T) {
	dir := folder(t)
	put(t, filepath.Join(dir, "k2.toml"), "goal = \"size\"\n[llvm]\npasses = [\"k2-merge\", \"k2-widen\"]")
	for key, want := range map[string]string{"goal": "size\n", "llvm.passes": "k2-merge,k2-widen\n", "strict": "false\n", "clang": "\n"} {
		if got := runWith(keep, "config", "--get="+key, dir); got.code != 0 || got.out != want || got.errors != "" {
			t.Errorf("%s: got %+v, want %q", key, got, want)
		}
	}
	if got := runWith(keep, "config", "--get=goall", dir); got.code != exitFailure || !strings.Contains(got.errors, "goall") {
		t.Errorf("got %+v", got)
	}
}

// complete runs a shell on a completion script and what asks for completion.
func complete(t *testing.T, shell, script, ask string) string {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(path, "-c", script+"\n"+ask)
	cmd.Dir = folder(t) // has good.c
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestCompletion(t *testing.T) {
	needClang(t)
	dir := t.TempDir()
	link(t, filepath.Join(dir, "k2cc"))
	t.Setenv("PATH", dir+":"+"/usr/bin:/bin")
	t.Setenv(actVariable, "1")
	tests := []struct{ line, want string }{
		{"k2cc --k2-go", "--k2-goal="},
		{"k2cc -c --k2-stri", "--k2-strict"},
		{"k2cc sta", "stats"},
		{"k2cc completion fi", "fish"},
		{"k2cc -c goo", "good.c"},
		{"k2cc -fsyntax-on", "-fsyntax-only"},
	}
	t.Run("bash", func(t *testing.T) {
		script := runWith(keep, "completion", "bash").out
		for _, test := range tests {
			got := complete(t, "bash", script, "COMP_WORDS=("+test.line+"); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _k2cc; echo ${COMPREPLY[@]}")
			if strings.TrimSpace(got) != test.want {
				t.Errorf("%s: got %q, want %q", test.line, got, test.want)
			}
		}
	})
	t.Run("zsh", func(t *testing.T) {
		complete(t, "zsh", "autoload -U compinit; compinit -D", runWith(keep, "completion", "zsh").out)
	})
	t.Run("fish", func(t *testing.T) {
		script := runWith(keep, "completion", "fish").out
		for _, test := range tests {
			if got := complete(t, "fish", script, "complete -C '"+test.line+"'"); !strings.HasPrefix(got, test.want) {
				t.Errorf("%s: got %q, want %q", test.line, got, test.want)
			}
		}
	})
	if got := runWith(keep, "completion", "tcsh"); got.code != exitFailure || !strings.Contains(got.errors, "bash, zsh or fish") {
		t.Errorf("got %+v", got)
	}
}

func TestManPage(t *testing.T) {
	got := runWith(keep, "man")
	for _, want := range []string{".TH k2cc 1", "K2CC_DISABLE", "--k2-goal", "opt", "stats", "101"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("no %s in the man page", want)
		}
	}
}
