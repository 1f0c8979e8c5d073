package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Who has no home gets a folder among temporary files, unless somebody else may
// have made what bears its name.
func TestHomeless(t *testing.T) {
	needClang(t)
	const precious = "precious"
	own := fmt.Sprintf("k2cc-%d", os.Geteuid())
	tests := []struct {
		name  string
		plant func(t *testing.T, dir string) error // in the place of the folder
		used  bool
	}{
		{"nothing there", func(*testing.T, string) error { return nil }, true},
		{"one's own folder", func(_ *testing.T, dir string) error { return os.Mkdir(dir, 0o700) }, true},
		{"a link", func(_ *testing.T, dir string) error { return os.Symlink("..", dir) }, false},
		{"a file", func(t *testing.T, dir string) error { put(t, dir, precious); return nil }, false},
		{"a folder for all", func(t *testing.T, dir string) error {
			err := os.Mkdir(dir, 0o700)
			for _, name := range []string{".stats.json", "clang.json"} {
				if err == nil {
					err = os.Symlink("../../prey", filepath.Join(dir, name))
				}
			}
			if err == nil {
				err = os.Chmod(dir, 0o777)
			}
			return err
		}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := folder(t)
			temp := filepath.Join(dir, "tmp")
			put(t, filepath.Join(dir, "prey"), precious)
			if err := os.Mkdir(temp, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := test.plant(t, filepath.Join(temp, own)); err != nil {
				t.Fatal(err)
			}
			before := names(t, dir)
			args := append([]string{"HOME=", "XDG_CACHE_HOME=", "TMPDIR=" + temp, "K2CC_EFFORT=fast"}, compileArgs...)
			if got := k2cc(t, dir, args...); got.code != 0 || got.errors != "" {
				t.Errorf("got %+v", got)
			}
			if got := get(t, filepath.Join(dir, "prey")); got != precious {
				t.Errorf("somebody's file was written over: %q", got)
			}
			if got := names(t, dir); len(got) != len(before)+1 {
				t.Errorf("more than the object is there: %q", got)
			}
			_, err := os.Stat(filepath.Join(temp, own, "stats.json"))
			if used := err == nil; used != test.used {
				t.Errorf("used: %v, want %v", used, test.used)
			}
		})
	}
}

// names are those of the files in a folder.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return all
}
