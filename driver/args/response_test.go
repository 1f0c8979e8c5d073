package args

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k2cc/k2cc/internal/filetest"
)

func TestExpand(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"words", "a  b\tc\nd\r\n e", []string{"a", "b", "c", "d", "e"}},
		{"double quotes", `"a b"c`, []string{"a bc"}},
		{"single quotes", `'a "b'`, []string{`a "b`}},
		{"backslashes", `a\ b \\ "\"" '\''`, []string{"a b", `\`, `"`, `'`}},
		{"a backslash at the end", `a \`, []string{"a", `\`}},
		{"an open quote", `a "b c`, []string{"a", "b c"}},
		{"empty words", `a "" '' b`, []string{"a", "b"}},
		{"a byte order mark", "\xef\xbb\xbfa", []string{"a"}},
		{"nothing", "", nil},
		{"nested", "a @two b", []string{"a", "in", "two", "b"}},
		{"missing", "a @none b", []string{"a", "@none", "b"}},
		{"the same twice", "@two @two", []string{"in", "two", "in", "two"}},
	}
	t.Chdir(t.TempDir())
	filetest.Put(t, "two", "in two")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			filetest.Put(t, "one", test.text)
			got, ok := Expand([]string{"first", "@one", "@", "last"})
			want := append(append([]string{"first"}, test.want...), "@", "last")
			if diff := cmp.Diff(want, got); diff != "" || !ok {
				t.Errorf("%v %s", ok, diff)
			}
		})
	}
}

func TestExpandWithoutEnd(t *testing.T) {
	t.Chdir(t.TempDir())
	filetest.Put(t, "one", "@two")
	filetest.Put(t, "two", "x @one")
	if got, ok := Expand([]string{"@one"}); ok {
		t.Errorf("got %q", got)
	}
}

func TestExpandUnreadable(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("folder", 0o755); err != nil {
		t.Fatal(err)
	}
	if got, ok := Expand([]string{"@folder"}); !ok || len(got) != 1 || got[0] != "@folder" {
		t.Errorf("got %q", got)
	}
}

// Clang takes the words of a response file for the same inputs.
func TestExpandIsClangs(t *testing.T) {
	const text = "none.a 'none b'\"c\"\n none\\ d \"none'e\" '' none\\\\f none.g\\"
	for _, clang := range clangs(t) {
		dir := t.TempDir()
		filetest.Put(t, filepath.Join(dir, "nested"), "none-n")
		filetest.Put(t, filepath.Join(dir, "words"), "@nested @none-m "+text)
		cmd := exec.Command(clang, "-###", "@words")
		cmd.Dir = dir
		out, _ := cmd.CombinedOutput()
		var want []string
		for _, match := range regexp.MustCompile(`(?m)no such file or directory: '(.*)'$`).FindAllStringSubmatch(string(out), -1) {
			want = append(want, strings.TrimPrefix(match[1], "@"))
		}
		got := append([]string{"none-n", "none-m"}, splitGNU([]byte(text))...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", clang, diff)
		}
	}
}

// FuzzExpand checks that any text comes to an end, in words that aren't empty.
func FuzzExpand(f *testing.F) {
	f.Add("a 'b c' \"d\\\"\" @x \\")
	f.Fuzz(func(t *testing.T, text string) {
		t.Chdir(t.TempDir())
		filetest.Put(t, "x", text)
		words, _ := Expand([]string{"@x"})
		for _, word := range words {
			if word == "" {
				t.Errorf("%q has an empty word", text)
			}
		}
	})
}
