package examples

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/toml"
)

// TestCompile has what TestLoad does not: the other byte order, and no debug
// information.
func TestCompile(t *testing.T) {
	clang(t)
	for _, flags := range []string{
		"-O1 -mcpu=v4 --target=bpfeb",
		"-Os -mcpu=v1 --target=bpfeb -g0",
	} {
		for _, e := range All() {
			if e.NeedsDebug {
				flags = strings.TrimSuffix(flags, " -g0")
			}
			t.Run(e.Name+" "+flags, func(t *testing.T) {
				t.Parallel()
				compile(t, e, append(strings.Fields(flags), "-Wall", "-Wextra")...)
			})
		}
	}
}

func TestLoad(t *testing.T) {
	needBPF(t)
	for _, flags := range []string{"-O1 -mcpu=v1", "-Os -mcpu=v2", "-O2 -mcpu=v4"} {
		for _, e := range All() {
			t.Run(e.Name+" "+flags, func(t *testing.T) {
				t.Parallel()
				spec, err := e.Spec(compile(t, e, strings.Fields(flags)...))
				if err != nil {
					t.Fatal(err)
				}
				coll, err := ebpf.NewCollection(spec)
				if err != nil {
					t.Fatal(err)
				}
				defer coll.Close()
				if len(coll.Programs) != len(e.Programs) {
					t.Errorf("%d programs, want %d", len(coll.Programs), len(e.Programs))
				}
				for _, p := range e.Programs {
					if loaded := coll.Programs[p.Name]; loaded == nil || loaded.Type() != p.Type {
						t.Errorf("%s is %v, want %v", p.Name, loaded, p.Type)
					}
					if got := spec.Programs[p.Name].SectionName; got != p.Section {
						t.Errorf("%s is in section %q, want %q", p.Name, got, p.Section)
					}
				}
			})
		}
	}
}

func TestCompileErrors(t *testing.T) {
	tests := []struct{ name, src, flags, want string }{
		{"no file", "nowhere.c", "-O2", "nowhere.c"},
		{"warning", All()[0].Source, "-Weverything", "warning"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Compile(t.Context(), clang(t), tt.src, tt.flags)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	for _, e := range All() {
		if _, err := toml.Load(filepath.Join(filepath.Dir(e.Source), toml.FileName)); err != nil {
			t.Error(err)
		}
	}
}
