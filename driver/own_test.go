package driver

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/toml"
)

func TestParseOwn(t *testing.T) {
	pair := func(key, name, value string) ownOptions {
		return ownOptions{pairs: []toml.Pair{{Key: key, Name: name, Value: value}}}
	}
	tests := []struct {
		option string
		want   ownOptions
		err    string // how the error begins
	}{
		{"--k2-report", ownOptions{report: true}, ""},
		{"--k2-config=a", ownOptions{config: "a"}, ""},
		{"--k2-goal=size", pair("goal", "--k2-goal", "size"), ""},
		{"--k2-budget-object=1s", pair("budget.object", "--k2-budget-object", "1s"), ""},
		{"--k2-strict", pair("strict", "--k2-strict", "true"), ""},
		{"--k2-strict=false", pair("strict", "--k2-strict", "false"), ""},
		{"--k2-goal", ownOptions{}, "--k2-goal needs a value"},
		{"--k2-config", ownOptions{}, "--k2-config needs a value"},
		{"--k2-report=1", ownOptions{}, "unknown option --k2-report=1"},
		{"--k2-trust=/", ownOptions{}, "unknown option --k2-trust=/"},
		{"--k2-", ownOptions{}, "unknown option --k2-"},
	}
	for _, test := range tests {
		got, err := parseOwn([]string{test.option})
		if test.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("%s: got %v, want %s", test.option, err, test.err)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(ownOptions{})); diff != "" || err != nil {
			t.Errorf("%s: %v %s", test.option, err, diff)
		}
	}
}

func TestParseEnvironment(t *testing.T) {
	got, err := parseEnvironment([]string{"K2CC_DISABLE=1", "K2CC_GOAL=size", "K2CC_BUDGET_WINDOW=1s", "K2CC_TRUST=/a:/b",
		"K2CC_CACHE_DIR=/c", "K2CC_CONFIG=d", "K2CC_REPORT=0", "K2CC_ISA=", "K2=x", "PATH=/K2CC_X=1", "K2CC_RUNS=x"})
	want := environment{
		ownOptions: ownOptions{config: "d", pairs: []toml.Pair{
			{Key: "budget.window", Name: "K2CC_BUDGET_WINDOW", Value: "1s"}, {Key: "goal", Name: "K2CC_GOAL", Value: "size"},
			{Key: "trust", Name: "K2CC_TRUST", Value: "/a,/b"},
		}},
		disable: true, cacheDir: "/c",
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(environment{}, ownOptions{})); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, variable := range []string{"K2CC_GOALS=size", "K2CC_=1", "K2CC_DISABLE=yes please"} {
		if _, err := parseEnvironment([]string{variable}); err == nil {
			t.Errorf("%s is taken", variable)
		}
	}
}

// Which setting holds, from the strongest place to the weakest.
func TestPrecedence(t *testing.T) {
	needClang(t)
	dir := folder(t)
	t.Chdir(dir)
	t.Setenv("XDG_CONFIG_HOME", dir+"/config")
	script(t, "config/k2cc/k2.toml", "")
	tests := []struct{ name, user, project, variable, option, want string }{
		{"default", "", "", "", "", "balanced"},
		{"user", "size", "", "", "", "size"},
		{"project", "size", "verifier", "", "", "verifier"},
		{"environment", "size", "verifier", "latency", "", "latency"},
		{"option", "size", "verifier", "latency", "balanced", "balanced"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			line := func(goal string) string {
				if goal == "" {
					return ""
				}
				return "goal = \"" + goal + "\"\n"
			}
			put(t, "config/k2cc/k2.toml", line(test.user))
			put(t, "k2.toml", line(test.project))
			t.Setenv("K2CC_GOAL", test.variable)
			args := compileArgs
			if test.option != "" {
				args = append([]string{"--k2-goal=" + test.option}, args...)
			}
			look, got := watch()
			if res := compileWith(look, args...); res != (result{}) || *got != test.want {
				t.Errorf("got %s, %+v, want %s", *got, res, test.want)
			}
		})
	}
}

func TestMisuse(t *testing.T) {
	dir := folder(t)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"unknown option", []string{"--k2-reprot", "-c", "good.c"}, "--k2-reprot"},
		{"unknown variable", []string{"K2CC_STRIKT=1", "--version"}, "K2CC_STRIKT"},
		{"unknown variable for a subcommand", []string{"K2CC_STRIKT=1", "stats"}, "K2CC_STRIKT"},
	}
	for _, test := range tests {
		got := k2cc(t, dir, test.args...)
		if got.code != exitMisuse || strings.Count(got.errors, "\n") != 1 || !strings.Contains(got.errors, test.want) || got.out != "" {
			t.Errorf("%s: got %+v", test.name, got)
		}
	}
	if got := k2cc(t, dir, "K2CC_DISABLE=1", "K2CC_AGAINST=1", "--version"); got.code != 0 {
		t.Errorf("switched off, k2cc complains: %+v", got)
	}
}
