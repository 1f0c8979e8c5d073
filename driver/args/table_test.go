package args

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTableIsSorted(t *testing.T) {
	for i, o := range table {
		if i > 0 && table[i-1].name >= o.name {
			t.Errorf("%s stands before %s", table[i-1].name, o.name)
		}
		if len(o.name) > maxName {
			t.Errorf("%s is longer than maxName", o.name)
		}
		if (o.does == stops) != (o.why != "") {
			t.Errorf("%s: stops without a reason, or the reverse", o.name)
		}
	}
}

// unasked are options whose arguments clang looks at before it looks for inputs,
// or with which it looks for none.
var unasked = regexp.MustCompile(`^(-|--|-#.*|--?(version|help.*|print.*|driver-mode.*|rsp-quoting.*|config.*|autocomplete.*|target.*|language.*|working-directory.*)|-x|-T|-V|-MJ|-dump.*|-cc1.*|-module-file-info|-gen-reproducer=?|-via-file-asm|-W.*|-foffload-lto.*)$`)

// known are all options that clang tells of, and those of the table.
func known(t *testing.T, clang string) []string {
	t.Helper()
	out, err := exec.Command(clang, "--autocomplete=-").Output()
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(clang, "--help-hidden").Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(line, "\t")
		names = append(names, strings.TrimSpace(name))
	}
	for _, match := range regexp.MustCompile(`(?m)^  (-[^\s<\[{]+)`).FindAllStringSubmatch(string(help), -1) {
		names = append(names, match[1])
	}
	for _, o := range table {
		names = append(names, o.name)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), unasked.MatchString)
}

// changed are options that take an argument in some versions only, or that a
// version does not tell unknown from joined to another.
var changed = regexp.MustCompile(`^(-T(bss|data|text)|-ccc-(arcmt|objcmt)-migrate|-fxray-.*|--?vfsoverlay|-Xclangas|` +
	`-Xmicrosoft-.*|-Xoffload-linker|-alias_list|-darwin-target-variant.*)$`)

// TestTableIsClangs puts four names of files that don't exist behind every
// option there is: clang complains about those that it takes for inputs.
func TestTableIsClangs(t *testing.T) {
	for _, clang := range clangs(t) {
		t.Run(clang, func(t *testing.T) {
			t.Parallel()
			names := known(t, clang)
			words := []string{"-###"}
			for i, name := range names {
				words = append(words, name)
				for j := range 4 {
					words = append(words, fmt.Sprintf("none-%d-%d", i, j))
				}
			}
			cmd := exec.Command(clang, words...)
			cmd.Dir = t.TempDir() // some options write files even so
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("clang has nothing against files that don't exist")
			}
			inputs, unknown := complaints(out)
			for i, name := range names {
				follow := 0
				for follow < 4 && !inputs[fmt.Sprintf("none-%d-%d", i, follow)] {
					follow++
				}
				o, _ := find(name)
				if got := o.follow(name); got != follow && !unknown[name] && !changed.MatchString(name) {
					t.Errorf("%s takes %d words, the table says %d", name, follow, got)
				}
			}
			if len(names) < 1500 || len(inputs) < 3*len(names) {
				t.Errorf("%d options and %d inputs are too few to tell", len(names), len(inputs))
			}
		})
	}
}

// complaints are the inputs and options that clang says it does not know.
func complaints(out []byte) (inputs, unknown map[string]bool) {
	inputs, unknown = map[string]bool{}, map[string]bool{}
	for _, match := range regexp.MustCompile(`no such file or directory: '(.*?)'|unknown argument:? '(.*?)'`).FindAllSubmatch(out, -1) {
		inputs[string(match[1])] = true
		unknown[string(match[2])] = true
	}
	return inputs, unknown
}
