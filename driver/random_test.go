package driver

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/toml"
	"github.com/k2cc/k2cc/verify"
)

// randomHead is what all sources of random programs have.
const randomHead = `
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
struct __sk_buff { u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority,
	ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end; };
struct value { u64 a, b; };
struct { int (*type)[2]; int (*max_entries)[4]; u32 *key; struct value *value; } array __attribute__((section(".maps")));
struct { int (*type)[1]; int (*max_entries)[8]; u32 *key; struct value *value; } hash __attribute__((section(".maps")));
struct { int (*type)[3]; int (*max_entries)[2]; u32 *key; u32 *value; } progs __attribute__((section(".maps")));
char state[128] __attribute__((aligned(8), section(".data.state"))) = {1};
char _license[] __attribute__((section("license"))) = "GPL";
`

// randomPrograms is how many programs a random object has.
const randomPrograms = 6

// randomSource is the C text of an object, all of it in C or all in assembly.
func randomSource(rng *rand.Rand, level int) string {
	var b strings.Builder
	b.WriteString(randomHead)
	inC := rng.IntN(2) == 0
	if inC {
		b.WriteString(cHead + cFunction(rng, "f0", false) + cFunction(rng, "f1", false, "f0"))
	} else {
		b.WriteString(asmFunction(rng, "sub0", level, false) + asmFunction(rng, "sub1", level, false))
	}
	for i := range randomPrograms {
		name := fmt.Sprintf("p%d", i)
		if inC {
			b.WriteString(cFunction(rng, name, true, "f0", "f1"))
		} else {
			b.WriteString(asmFunction(rng, name, level, true))
		}
	}
	return b.String()
}

// randomObject is an object of random programs.
func randomObject(t *testing.T, rng *rand.Rand) (object []byte, level int) {
	t.Helper()
	dir := t.TempDir()
	level = 1 + rng.IntN(4)
	put(t, filepath.Join(dir, "x.c"), randomSource(rng, level))
	effort := []string{"-O2", "-O2", "-O1", "-Os"}[rng.IntN(4)]
	r := runIn(t, dir, needClang(t), "--target=bpf", fmt.Sprintf("-mcpu=v%d", level), effort, "-g", "-w", "-c", "x.c", "-o", "x.o")
	if r.code != 0 {
		t.Fatal(r.errors)
	}
	return []byte(get(t, filepath.Join(dir, "x.o"))), level
}

// randomSettings are some for a random object.
func randomSettings(t *testing.T, rng *rand.Rand) *toml.Config {
	t.Helper()
	goals, efforts := []string{"balanced", "balanced", "size", "latency", "verifier"}, []string{"fast", "normal"}
	file := filepath.Join(t.TempDir(), "k2.toml")
	put(t, file, fmt.Sprintf("goal = %q\neffort = %q\n", goals[rng.IntN(len(goals))], efforts[rng.IntN(len(efforts))]))
	config, err := toml.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// randomInput is what a program finds when it runs.
type randomInput struct {
	state  [128]byte // the global variable, and the contents of maps
	packet []byte
	ctx    [192]byte // a struct __sk_buff
}

func newInput(rng *rand.Rand) (in randomInput) {
	for i := 0; i < len(in.state); i += 8 {
		w := rng.Uint64() >> (8 * rng.IntN(8))
		if rng.IntN(3) == 0 {
			w = uint64(int64(rng.IntN(24) - 4))
		}
		binary.LittleEndian.PutUint64(in.state[i:], w)
	}
	in.packet = make([]byte, 14+rng.IntN(40))
	for i := range in.packet {
		in.packet[i] = byte(rng.Uint32()) >> (4 * rng.IntN(2))
	}
	in.packet[12], in.packet[13] = 0x88, 0xb5 // an experimental protocol (RFC 9542)
	const mark, cb = 8, 48
	for _, at := range []int{mark, cb, cb + 4, cb + 8, cb + 12, cb + 16} {
		binary.LittleEndian.PutUint32(in.ctx[at:], uint32(rng.IntN(6)))
	}
	return in
}

// running is an object in the kernel.
type running struct{ *ebpf.Collection }

// start loads those of an object's programs that names lists.
func start(t *testing.T, object []byte, names map[string]bool) running {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	for name := range spec.Programs {
		if !names[name] {
			delete(spec.Programs, name)
		}
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if target := c.Programs["p0"]; target != nil {
		if err := c.Maps["progs"].Put(uint32(0), target); err != nil {
			t.Fatal(err)
		}
	}
	return running{c}
}

// run is all that one run leaves, as text.
func (r running) run(name string, in randomInput) (string, error) {
	if err := r.prepare(in); err != nil {
		return "", err
	}
	ctx := in.ctx
	opts := &ebpf.RunOptions{Data: in.packet, DataOut: make([]byte, len(in.packet)+256), Context: ctx, ContextOut: &ctx}
	ret, err := r.Programs[name].Run(opts)
	if err != nil {
		return "", err
	}
	var state [128]byte
	if err := r.Maps[".data.state"].Lookup(uint32(0), &state); err != nil {
		return "", err
	}
	text := fmt.Sprintf("result %#x\npacket %x\ncontext %x\nstate %x\n", ret, opts.DataOut, ctx, state)
	for _, m := range []string{"array", "hash"} {
		for k := range uint32(8) {
			var v [2]uint64
			if err := r.Maps[m].Lookup(k, &v); err == nil {
				text += fmt.Sprintf("%s[%d] %x\n", m, k, v)
			} else if !errors.Is(err, ebpf.ErrKeyNotExist) {
				return "", err
			}
		}
	}
	return text, nil
}

// prepare makes the maps what they are before a run.
func (r running) prepare(in randomInput) error {
	errs := []error{r.Maps[".data.state"].Put(uint32(0), in.state[:])}
	for k := range uint32(8) {
		v := [2]uint64{binary.LittleEndian.Uint64(in.state[8*k:]), uint64(k)}
		if k < 4 {
			errs = append(errs, r.Maps["array"].Put(k, v))
		}
		if in.state[k]&1 == 0 {
			errs = append(errs, r.Maps["hash"].Put(k, v))
		} else if err := r.Maps["hash"].Delete(k); !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// difference says where programs of two objects do not do the same on some
// inputs.
func difference(t *testing.T, rng *rand.Rand, old, new []byte, names map[string]bool) string {
	t.Helper()
	before, after := start(t, old, names), start(t, new, names)
	for i := range randomPrograms {
		name := fmt.Sprintf("p%d", i)
		for n := 0; n < 100 && names[name]; n++ {
			in := newInput(rng)
			want, err := before.run(name, in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := after.run(name, in)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				return fmt.Sprintf("%s on %x\nwas\n%s\nis\n%s", name, in, want, got)
			}
		}
	}
	return ""
}

// fromEnvironment is what a variable of the environment says, or else n.
func fromEnvironment(t *testing.T, name string, n uint64) uint64 {
	t.Helper()
	if s := os.Getenv(name); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// Random programs load after the whole of the optimiser as before, cost no more
// than they may, do the same, and are the same however many workers there are.
// The environment's K2CC_RANDOM_OBJECTS says how many objects, K2CC_RANDOM_SEED
// which.
func TestRandomPrograms(t *testing.T) {
	needKernel(t)
	seed := fromEnvironment(t, "K2CC_RANDOM_SEED", rand.Uint64())
	for n := range fromEnvironment(t, "K2CC_RANDOM_OBJECTS", 2) {
		t.Run(fmt.Sprintf("seed %d object %d", seed, n), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, n))
			in, level := randomObject(t, rng)
			opts := Options{Name: "x.o", Config: randomSettings(t, rng), Level: level}
			out := optimizedTwice(t, rng, in, opts)
			names := stillLoad(t, in, out, opts)
			if d := difference(t, rng, in, out, names); d != "" {
				t.Error(d)
			}
		})
	}
}

// optimizedTwice optimises an object with eight workers, and then with one, with
// what was found already or without.
func optimizedTwice(t *testing.T, rng *rand.Rand, in []byte, opts Options) []byte {
	t.Helper()
	opts.Cache, _ = openCache("")
	out, late := optimizedBy(t, 8, in, opts)
	if rng.IntN(2) == 0 {
		opts.Cache, _ = openCache("")
	}
	again, lateAgain := optimizedBy(t, 1, in, opts)
	if !late && !lateAgain && !bytes.Equal(out, again) {
		t.Error("another object with one worker")
	}
	return out
}

// optimizedBy is what so many workers make of an object, and whether time ran
// out.
func optimizedBy(t *testing.T, workers int, in []byte, opts Options) (out []byte, late bool) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers))
	out, rep, err := Optimize(t.Context(), in, opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range rep.Functions {
		late = late || f.OutOfTime
	}
	return out, late
}

// stillLoad is the programs that load, before as after.
func stillLoad(t *testing.T, in, out []byte, opts Options) map[string]bool {
	t.Helper()
	all, err := verify.Compare(t.Context(), in, out)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range all {
		names[c.Name] = c.Verdict == verify.Kept
		switch {
		case c.Verdict == verify.Broken:
			t.Errorf("%s no longer loads: %s", c.Name, c.Reason)
		case !(&rewriter{opts: opts}).affordable(c):
			t.Errorf("%s costs more than it may: %+v was %+v", c.Name, c.New, c.Old)
		}
	}
	return names
}

// What random programs do tells right code from wrong.
func TestRandomProgramsShowBugs(t *testing.T) {
	needKernel(t)
	for _, bug := range []struct {
		name     string
		from, to bpf.Op
	}{
		{"signed shifts are not", bpf.ClassALU64 | bpf.OpArsh, bpf.ClassALU64 | bpf.OpRsh},
		{"xor is or", bpf.ClassALU64 | bpf.OpXor, bpf.ClassALU64 | bpf.OpOr},
		{"products are differences", bpf.ClassALU64 | bpf.OpMul, bpf.ClassALU64 | bpf.OpSub},
		{"signed comparisons are not", bpf.ClassJMP | bpf.OpJSGT, bpf.ClassJMP | bpf.OpJGT},
	} {
		t.Run(bug.name, func(t *testing.T) {
			for n := range uint64(20) {
				rng := rand.New(rand.NewPCG(1, n))
				in, _ := randomObject(t, rng)
				out := planted(t, in, bug.from, bug.to)
				all, err := verify.Compare(t.Context(), in, out)
				if err != nil {
					t.Fatal(err)
				}
				names := map[string]bool{}
				for _, c := range all {
					names[c.Name] = c.Verdict == verify.Kept
				}
				if difference(t, rng, in, out, names) != "" {
					return
				}
			}
			t.Error("not seen")
		})
	}
}

// planted is the object with an operation in the place of another.
func planted(t *testing.T, object []byte, from, to bpf.Op) []byte {
	t.Helper()
	out := bytes.Clone(object)
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	code := f.Section("tc")
	for at := code.Offset; at < code.Offset+code.Size; at += bpf.SlotSize {
		if bpf.Op(out[at])&^bpf.SourceX == from {
			out[at] ^= byte(from ^ to)
		}
		if bpf.Op(out[at]) == bpf.LoadImm64 {
			at += bpf.SlotSize
		}
	}
	return out
}
