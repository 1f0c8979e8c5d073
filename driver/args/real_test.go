package args

import "testing"

// TestRealCommands is how projects call clang, behind its name.
func TestRealCommands(t *testing.T) {
	for project, commands := range realCommands {
		t.Run(project, func(t *testing.T) { runAll(t, commands) })
	}
}

const (
	sysIncludes = "-idirafter /usr/lib/llvm-22/lib/clang/22/include -idirafter /usr/local/include -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include "
	kernelFlags = "-g -Wall -Werror -D__TARGET_ARCH_x86 -mlittle-endian -Itools/include -Itools/testing/selftests/bpf -std=gnu11 " +
		"-fno-strict-aliasing -Wno-compare-distinct-pointer-types -Wno-initializer-overrides " + sysIncludes
	sampleFlags = "-nostdinc -I./samples/bpf -Itools/testing/selftests/bpf/ -D__KERNEL__ -D__BPF_TRACING__ -Wno-unused-value -Wno-pointer-sign " +
		"-D__TARGET_ARCH_x86 -Wno-compare-distinct-pointer-types -Wno-gnu-variable-sized-type-not-at-end -Wno-tautological-compare -Wno-unknown-warning-option -fno-asynchronous-unwind-tables "
	ciliumFlags = "-Ibpf/include -Ibpf -D__NR_CPUS__=8 -O2 -g -target bpf -std=gnu99 -nostdinc -ftrap-function=__undefined_trap -Wall -Wextra -Werror -Wshadow " +
		"-Wno-address-of-packed-member -Wno-unknown-warning-option -Wno-gnu-variable-sized-type-not-at-end -Wimplicit-int-conversion -Wenum-conversion -Wimplicit-fallthrough "
	tetragonFlags = "-O2 -g -Wall -Wextra -nostdinc -D__TARGET_ARCH_x86 -Ilibbpf -I. -Iinclude -Ilib -Wno-unused-parameter -Wno-sign-compare -fno-ident " +
		"-D__LARGE_BPF_PROG -D__V511_BPF_PROG -target bpf -mcpu=v2 "
	xdpFlags = "-target bpf -D __BPF_TRACING__ -DHAVE_LIBBPF_XDP -I../lib/../headers -Wall -Wno-unused-value -Wno-pointer-sign -Wno-compare-distinct-pointer-types -Werror "
	bpf2go   = "-Wunused-command-line-argument -target bpfel -c src/prog.c -o src/prog_bpfel.o -fno-ident -fdebug-prefix-map=src=. -fdebug-compilation-dir . -g " +
		"-D__BPF_TARGET_MISSING=\"missing\""
)

var realCommands = map[string][]command{
	"libbpf-bootstrap": {
		{"-g -O2 -target bpf -D__TARGET_ARCH_x86 -I.output -I../../libbpf/include/uapi -I../../vmlinux/x86/ -I../../blazesym/include " + sysIncludes + "-c minimal.bpf.c -o .output/minimal.tmp.bpf.o",
			"minimal.bpf.c>.output/minimal.tmp.bpf.o", ""},
		{"-g -O2 -target bpf -D__TARGET_ARCH_arm64 " + sysIncludes + "-I/build -isystem /build/libbpf -c uprobe.bpf.c -o uprobe.bpf.o",
			"uprobe.bpf.c>uprobe.bpf.o", ""},
		{"-v -E -", "", Preprocess},
		{"-g -Wall -I.output -I../../libbpf/include/uapi -c minimal.c -o .output/minimal.o", "", OtherTarget},
		{"-g -Wall .output/minimal.o libbpf.a -lelf -lz -o minimal", "", OtherTarget},
		{"--version", "", Query},
	},
	"libbpf-tools": {
		{"-g -O2 -Wall -target bpf -D__TARGET_ARCH_x86 -Ix86/ -I.output -I../src/cc/libbpf/include/uapi -c biolatency.bpf.c -o .output/biolatency.bpf.o",
			"biolatency.bpf.c>.output/biolatency.bpf.o", ""},
		{"-g -O2 -Wall -Wmissing-field-initializers -Werror -target bpf -D__TARGET_ARCH_x86 -Ix86/ -I.output -c opensnoop.bpf.c -o .output/opensnoop.bpf.o",
			"opensnoop.bpf.c>.output/opensnoop.bpf.o", ""},
		{"-g -O2 -Wall -I.output -I../src/cc/libbpf/include/uapi -c biolatency.c -o .output/biolatency.o", "", OtherTarget},
	},
	"Linux selftests": {
		{kernelFlags + "-O2 --target=bpfel -c progs/atomics.c -mcpu=v3 -o atomics.bpf.o", "progs/atomics.c>atomics.bpf.o", ""},
		{kernelFlags + "-DENABLE_ATOMICS_TESTS -O2 --target=bpfel -c progs/loop1.c -mcpu=v4 -o cpuv4/loop1.bpf.o", "progs/loop1.c>cpuv4/loop1.bpf.o", ""},
		{kernelFlags + "-O2 --target=bpf -c progs/x.c -mcpu=v2 -o no_alu32/x.bpf.o", "progs/x.c>no_alu32/x.bpf.o", ""},
		{kernelFlags + "-O2 -target bpf -c progs/x.c -Xclang -target-feature -Xclang +alu32 -o x.o", "progs/x.c>x.o", ""},
		{"-O2 -Wall --target=bpf -DPERM -MMD -MF x.d -MT x.o -c arena.c -o arena.o", "arena.c>arena.o", ""},
		{"-mcpu=v4 --target=bpf -O2 -x c -c - -o /dev/null", "->/dev/null", ""},
		{"-E -dM -x c /dev/null", "", Preprocess},
		{"-g -O2 -rdynamic -Wall -Werror -Itools/include -c test_progs.c -o test_progs.o", "", OtherTarget},
	},
	"Linux samples": {
		{sampleFlags + "-O2 -emit-llvm -Xclang -disable-llvm-passes -c samples/bpf/tracex1.bpf.c -o -", "", Bitcode},
		{sampleFlags + "-I samples/bpf/vmlinux -include asm_goto_workaround.h -O2 -g --target=bpf -c samples/bpf/tc.bpf.c -o samples/bpf/tc.bpf.o",
			"samples/bpf/tc.bpf.c>samples/bpf/tc.bpf.o", ""},
		{"-g -O2 --target=bpf -c kernel/bpf/preload/iterators/iterators.bpf.c -Itools/include -o iterators.bpf.o",
			"kernel/bpf/preload/iterators/iterators.bpf.c>iterators.bpf.o", ""},
		{"-g -O2 -Wall -fno-stack-protector --target=bpf -c skeleton/profiler.bpf.c -Iuapi -o profiler.bpf.o", "skeleton/profiler.bpf.c>profiler.bpf.o", ""},
	},
	"Cilium": {
		{ciliumFlags + "-mcpu=v3 -c bpf_lxc.c -o bpf_lxc.o", "bpf_lxc.c>bpf_lxc.o", ""},
		{ciliumFlags + "-mcpu=v1 -DENABLE_IPV4=1 -DMTU=1500 -c bpf/bpf_host.c -o /run/cilium/state/bpf_host.o",
			"bpf/bpf_host.c>/run/cilium/state/bpf_host.o", ""},
		{ciliumFlags + "-emit-llvm -c bpf_lxc.c -o bpf_lxc.ll", "", Bitcode},
		{ciliumFlags + "-E -c bpf_lxc.c -o bpf_lxc.i", "", Preprocess},
		{ciliumFlags + "-S -c bpf_lxc.c -o bpf_lxc.asm", "", Assemble},
		{ciliumFlags + "--analyze bpf_lxc.c", "", Check},
		{"-O2 -target bpf -D__NR_CPUS__=8 -Wno-address-of-packed-member -emit-llvm -I/run/globals -c bpf_lxc.c -o -", "", Bitcode},
	},
	"Tetragon": {
		{tetragonFlags + "-c process/bpf_generic_kprobe.c -o objs/bpf_generic_kprobe_v511.o",
			"process/bpf_generic_kprobe.c>objs/bpf_generic_kprobe_v511.o", ""},
		{tetragonFlags + "-MM -MP -MT objs/bpf_exit.o process/bpf_exit.c", "", Preprocess},
		{tetragonFlags + "-emit-llvm -c process/bpf_exit.c -o objs/bpf_exit.ll", "", Bitcode},
		{tetragonFlags + "-E process/bpf_exit.c -o objs/bpf_exit.i", "", Preprocess},
	},
	"xdp-tools": {
		{xdpFlags + "-O2 -c -g -o xdp-dispatcher.o xdp-dispatcher.c", "xdp-dispatcher.c>xdp-dispatcher.o", ""},
		{"-S " + xdpFlags + "-O2 -emit-llvm -c -g -o xdp-dispatcher.ll xdp-dispatcher.c", "", Assemble},
		{"-Wall -O2 -g -I../headers -L../lib/libxdp -o xdp-loader xdp-loader.c -l:libxdp.a -lbpf -lelf -lz", "", OtherTarget},
		{"-target bpf -g -O2 -x c -c -o /dev/null -", "->/dev/null", ""},
	},
	"Katran": {
		{"-I./usr/include -I./include -I. -DDEBUG -D__KERNEL__ -Wno-unused-value -Wno-pointer-sign -Wno-compare-distinct-pointer-types -O2 -emit-llvm -c -g katran/lib/bpf/balancer.bpf.c -o -", "", Bitcode},
		{"-O2 -g -target bpf -D__KERNEL__ -I. -Wno-unused-value -c bpf/balancer.bpf.c -o bpf/balancer.bpf.o",
			"bpf/balancer.bpf.c>bpf/balancer.bpf.o", ""},
	},
	"bpf2go": {
		{"-O2 -mcpu=v1 -D__TARGET_ARCH_x86 " + bpf2go, "src/prog.c>src/prog_bpfel.o", ""},
		{"-O2 -mcpu=v1 -O3 -mcpu=v3 " + bpf2go + " -MD -MF/tmp/prog.d -MTprog", "src/prog.c>src/prog_bpfel.o", ""},
		{"-O2 -mcpu=v1 -Werror -I../headers -target bpfeb -c prog.c -o prog_bpfeb.o", "prog.c>prog_bpfeb.o", ""},
		{"-O2 -mcpu=v1 -M -MT bpf_bpfel.go -MP -target bpfel prog.c", "", Preprocess},
	},
	"build systems": {
		{"-c conftest.c", "", OtherTarget},
		{"-qversion", "", NoInput},
		{"-V", "", NoInput},
		{"-o conftest -g -O2 conftest.c", "", OtherTarget},
		{"--target=bpf -o CMakeFiles/cmTC_1.dir/testCCompiler.c.o -c /b/testCCompiler.c", "", NotOptimised},
		{"-D__TARGET_ARCH_x86 -O3 -g --target=bpf -MD -MT CMakeFiles/p.dir/p.bpf.c.o -MF CMakeFiles/p.dir/p.bpf.c.o.d -o CMakeFiles/p.dir/p.bpf.c.o -c p.bpf.c",
			"p.bpf.c>CMakeFiles/p.dir/p.bpf.c.o", ""},
		{"-fcolor-diagnostics -D_FILE_OFFSET_BITS=64 -O2 -target bpf -std=gnu99 -MD -MQ prog.o -MF prog.o.d -o prog.o -c ../prog.c", "../prog.c>prog.o", ""},
		{"-E -dM -xc /dev/null", "", Preprocess},
		{"-Wl,--version", "", NoInput},
		{"-print-resource-dir", "", Query},
		{"-dumpversion", "", Query},
	},
}
