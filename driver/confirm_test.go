package driver

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k2cc/k2cc/toml"
	"github.com/k2cc/k2cc/verify"
)

// keysSource looks two constant keys up in an array. Their stores lie side by
// side, and where they are merged the verifier no longer knows the keys: the
// object gets shorter, and its machine code longer by what stands for keys that
// are not there. The program ends with bytes put together, for which a shorter
// way harms nothing.
const keysSource = `
struct xdp_md { unsigned data, data_end; };
struct { int (*type)[2]; int (*max_entries)[4]; unsigned *key; long *value; } counts
	__attribute__((section(".maps")));
#define strange(n) ({ long v = now(); asm volatile("%0 *= 1000" #n "\n%0 ^= 99999\n%0 *= 77777\n%0 ^= 55555" : "+r"(v)); v; })
static void *(*lookup)(void *, const void *) = (void *)1;
static long (*now)(void) = (void *)5;
__attribute__((section("xdp"))) int keys(struct xdp_md *ctx)
{
	unsigned a = 0, b = 2;
	asm volatile("" : : "r"(&a), "r"(&b) : "memory");
	long *x = lookup(&counts, &a), *y;
	if (!x)
		return strange(1);
	*x += 3;
	y = lookup(&counts, &b);
	if (!y)
		return strange(2);
	*y += 5;
	unsigned char *p = (void *)(long)ctx->data;
	if (p + 2 > (unsigned char *)(long)ctx->data_end)
		return 1;
	return p[0] | p[1] << 8;
}
char _license[] __attribute__((section("license"))) = "GPL";
`

// A rewrite that the kernel makes more of than the settings allow is taken back,
// and nothing else is.
func TestConfirmTakesBackWhatIsDear(t *testing.T) {
	clang := needClang(t)
	needKernel(t)
	dir := t.TempDir()
	put(t, filepath.Join(dir, "keys.c"), keysSource)
	if r := runIn(t, dir, clang, "--target=bpf", "-mcpu=v3", "-O2", "-g", "-w", "-c", "keys.c", "-o", "keys.o"); r.code != 0 {
		t.Fatal(r.errors)
	}
	in := []byte(get(t, filepath.Join(dir, "keys.o")))
	optimize := func(limit string) (verify.Comparison, FunctionReport) {
		t.Helper()
		file := filepath.Join(dir, "k2.toml")
		put(t, file, "goal = \"size\"\npasses = \"local\"\n[limit]\nverifier = \"none\"\ncode = \""+limit+"\"")
		config, err := toml.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		out, rep, err := Optimize(context.Background(), in, Options{Name: "keys.o", Config: config})
		if err != nil {
			t.Fatal(err)
		}
		all, err := verify.Compare(context.Background(), in, out)
		if err != nil || len(all) != 1 || all[0].Verdict != verify.Kept {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[0], rep.Functions[0]
	}
	free, _ := optimize("none")
	if free.New.JITed <= free.Old.JITed {
		t.Fatalf("without limits %d bytes of machine code became %d: the test tests nothing", free.Old.JITed, free.New.JITed)
	}
	held, rep := optimize("0%")
	if held.New.JITed > held.Old.JITed {
		t.Errorf("%d bytes of machine code became %d", held.Old.JITed, held.New.JITed)
	}
	if rep.Rewrites == 0 || held.New.Slots >= held.Old.Slots-2 {
		t.Errorf("%d rewrites are left, %d slots became %d", rep.Rewrites, held.Old.Slots, held.New.Slots)
	}
	if !strings.Contains(rep.Skipped, "cost more than they may") {
		t.Errorf("the report says %q", rep.Skipped)
	}
}
