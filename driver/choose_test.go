package driver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/toml"
	"github.com/k2cc/k2cc/verify"
)

// filter is a program whose size depends on what it is compiled with.
const filter = `
struct ctx { unsigned data, data_end; };
__attribute__((section("xdp"), used)) int filter(struct ctx *ctx)
{
	unsigned char *p = (void *)(long)ctx->data;
#ifndef WILD
	if (p + 8 > (unsigned char *)(long)ctx->data_end)
		return 1;
#endif
	int n = p[0] + 3 * p[1];
#ifndef SMALL
	n += 5 * p[2] + 7 * p[3];
#endif
	return n & 3;
}
#ifdef MORE
__attribute__((section("xdp"), used)) int more(struct ctx *ctx) { return 1; }
#endif
char _license[] __attribute__((section("license"))) = "GPL";
`

// build compiles filter.
func build(t *testing.T, clang string, flags ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "x.c"), filter)
	args := append([]string{"-O2", "-g", "--target=bpf", "-c", "x.c", "-o", "x.o"}, flags...)
	if got := runIn(t, dir, clang, args...); got.code != 0 {
		t.Fatal(got.errors)
	}
	object, err := os.ReadFile(filepath.Join(dir, "x.o"))
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// An alternative is used if it is smaller, of the same kind, and the kernel
// accepts it.
func TestChoose(t *testing.T) {
	clang := needClang(t)
	tests := []struct {
		name   string
		flags  []string // of the alternative
		kernel toml.KernelCheck
		want   string // in the outcome
	}{
		{"smaller", []string{"-DSMALL"}, toml.KernelOn, ": used"},
		{"the same", nil, toml.KernelOn, "made no difference"},
		{"larger", []string{"-O1", "-mcpu=v1"}, toml.KernelOn, "no smaller"},
		{"rejected", []string{"-DSMALL", "-DWILD"}, toml.KernelOn, "filter is rejected by the verifier"},
		{"other functions", []string{"-DSMALL", "-DMORE"}, toml.KernelOn, "has other functions"},
		{"other byte order", []string{"-DSMALL", "--target=bpfeb"}, toml.KernelOn, "not for the same target"},
		{"higher level", []string{"-DSMALL", "-mcpu=v4"}, toml.KernelOn, "not for the same target"},
		{"without the kernel's word", []string{"-DSMALL"}, toml.KernelOff, "the kernel was not asked"},
	}
	input := build(t, clang, "-mcpu=v2")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := verify.Permitted(); err != nil && test.kernel == toml.KernelOn {
				t.Skip(err)
			}
			config := toml.Default()
			config.Kernel, config.Passes = test.kernel, "local"
			other := input
			if test.flags != nil {
				other = build(t, clang, append([]string{"-mcpu=v2"}, test.flags...)...)
			}
			_, rep, err := Optimize(t.Context(), input, Options{
				Config: config, Alternative: alternative{Object: other, By: "a test"},
			})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(rep.IR, test.want) {
				t.Errorf("%s, want %q", rep.IR, test.want)
			}
			saved := rep.Functions[0].SlotsBefore - rep.Functions[0].SlotsAfter
			if used := strings.Contains(rep.IR, ": used"); used != (saved > 2) {
				t.Errorf("saves %d slots", saved)
			}
		})
	}
}
