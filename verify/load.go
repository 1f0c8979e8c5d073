package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/k2cc/k2cc/cache"
)

// State is the kernel's word on a program.
type State uint8

// The states of a program.
const (
	Untried  State = iota // the verifier was never reached, so nothing is known
	Rejected              // the verifier refused it
	Accepted
)

func (s State) String() string {
	return [...]string{"untried", "rejected", "accepted"}[s]
}

// Stats are the kernel's figures for a program that it accepted.
type Stats struct {
	Slots     int // 8-byte slots handed to the kernel, linked subprograms included
	Processed int // instructions that the verifier walked
	Xlated    int // bytes of BPF code after the kernel's own rewriting
	JITed     int // bytes of machine code, of all its functions; 0 where there is no JIT
}

// ProgramResult is what became of one program of an object.
type ProgramResult struct {
	Name, Section string
	Type          ebpf.ProgramType
	State         State
	// Reason is why it isn't accepted, in one line.
	Reason string
	// Log holds the last lines of the verifier's log, for Rejected.
	Log []string
	// Stats are filled in for Accepted; Slots always is, and Processed for
	// Rejected as well.
	Stats
}

// Options say how to load.
type Options struct {
	// Trace asks for the instructions that led to a rejection, at the price of
	// a second load and of memory for a log that can be hundreds of megabytes.
	// Otherwise the log holds the complaint alone.
	Trace bool
	// LogLines bounds ProgramResult.Log; 0 stands for 20.
	LogLines int
	// Programs are the only ones to load, by name; nil stands for all.
	Programs []string
	// Thaw leaves constants (.rodata) writable, so that the verifier takes none
	// of them as known and walks the code for all of their values: whoever loads
	// the object may set them to others.
	Thaw bool
}

const defaultLogLines = 20

// Loader loads objects and keeps the kernel's decoded BTF from one to the next,
// which saves some 50 ms for each that uses CO-RE. It is safe for use by several
// goroutines.
type Loader struct {
	types *btf.Cache

	// What the kernel said before, where that is kept.
	cache  *cache.Cache
	kernel []byte // which kernel
}

// NewLoader returns a Loader that knows nothing yet.
func NewLoader() *Loader { return &Loader{types: btf.NewCache()} }

// Load is Loader.Load for a single object.
func Load(ctx context.Context, obj []byte, opts Options) ([]ProgramResult, error) {
	return NewLoader().Load(ctx, obj, opts)
}

// Load loads each program of an object by itself, so that one that is rejected
// hides no other, and unloads it again. Results are sorted by name. An error
// means that nothing can be said about the object, or that ctx has ended.
func (l *Loader) Load(ctx context.Context, obj []byte, opts Options) ([]ProgramResult, error) {
	if results, ok := l.recall(obj, opts); ok {
		return results, nil
	}
	results, err := l.load(ctx, obj, opts)
	if err == nil {
		l.remember(obj, opts, results)
	}
	return results, err
}

func (l *Loader) load(ctx context.Context, obj []byte, opts Options) (results []ProgramResult, err error) {
	s, err := openToLoad(obj, l.types)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if opts.Thaw {
		s.thaw()
	}
	for _, name := range slices.Sorted(maps.Keys(s.spec.Programs)) {
		if opts.Programs != nil && !slices.Contains(opts.Programs, name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("load program %s: %w", name, err)
		}
		r, err := s.try(name, opts)
		if err != nil {
			return nil, fmt.Errorf("load program %s: %w", name, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// List is Load without a kernel: every program is Untried.
func List(obj []byte) ([]ProgramResult, error) {
	s, err := open(obj, nil)
	if err != nil {
		return nil, err
	}
	var results []ProgramResult
	for _, name := range slices.Sorted(maps.Keys(s.spec.Programs)) {
		results = append(results, s.describe(name))
	}
	return results, nil
}

// describe says of a program what needs no kernel.
func (s *session) describe(name string) ProgramResult {
	spec := s.spec.Programs[name]
	r := ProgramResult{Name: name, Section: spec.SectionName, Type: spec.Type}
	r.Slots = int(spec.Instructions.Size() / asm.InstructionSize)
	return r
}

// try loads and unloads one program.
func (s *session) try(name string, opts Options) (ProgramResult, error) {
	spec, r := s.spec.Programs[name], s.describe(name)
	if spec.Type == ebpf.UnspecifiedProgram {
		r.Reason = fmt.Sprintf("section %s names no program type", spec.SectionName)
		return r, nil
	}
	p, err := s.load(name, ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats})
	if err != nil {
		r.refuse(err)
		if r.State == Rejected && opts.Trace {
			s.trace(&r)
		}
		keep := opts.LogLines
		if keep == 0 {
			keep = defaultLogLines
		}
		r.Log = r.Log[max(0, len(r.Log)-keep):]
		return r, nil
	}
	r.State = Accepted
	return r, errors.Join(r.measure(p), s.unload(name))
}

// trace replaces the log by one that lists instructions.
func (s *session) trace(r *ProgramResult) {
	_, err := s.load(r.Name, ebpf.ProgramOptions{LogLevel: ebpf.LogLevelBranch | ebpf.LogLevelStats})
	if v, ok := errors.AsType[*ebpf.VerifierError](err); ok {
		r.Log = complaint(v.Log)
	}
}

func (r *ProgramResult) measure(p *ebpf.Program) error {
	info, err := p.Info()
	if err != nil {
		return fmt.Errorf("ask for program info: %w", err)
	}
	if n, ok := info.VerifiedInstructions(); ok {
		r.Processed = int(n)
	} else {
		r.Processed = processed(strings.Split(p.VerifierLog, "\n"))
	}
	if r.Xlated, err = info.TranslatedSize(); err != nil {
		return fmt.Errorf("ask for the translated size: %w", err)
	}
	jited, err := info.JitedSize()
	if err != nil && !errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("ask for the JITed size: %w", err)
	}
	r.JITed = int(jited)
	return nil
}

// refuse files a failed load under what it says about the program.
func (r *ProgramResult) refuse(err error) {
	v, ok := errors.AsType[*ebpf.VerifierError](err)
	switch {
	case ok:
		r.Processed = processed(v.Log)
		r.Log = complaint(v.Log)
		if r.reachedVerifier(v) {
			r.State = Rejected
		}
		r.Reason = oneLine(reason(v))
	case errors.Is(err, unix.EPERM):
		// The library guesses at the limit of locked memory, which open raised.
		r.Reason = fmt.Sprintf("this kernel or its policy permits no %v programs (%v)", r.Type, unix.EPERM)
	default: // failed before bpf(), or for lack of memory
		r.Reason = oneLine(strings.TrimPrefix(err.Error(), "program "+r.Name+": "))
	}
}

// reachedVerifier tells a program that is at fault from one that this kernel
// has no place for. The kernel answers both with the same few error numbers
// (kernel/bpf/verifier.c, bpf_check).
func (r *ProgramResult) reachedVerifier(v *ebpf.VerifierError) bool {
	for _, passing := range []error{unix.ENOMEM, unix.EAGAIN, unix.EINTR} {
		if errors.Is(v, passing) {
			return false
		}
	}
	switch cause := v.Cause.Error(); {
	case strings.Contains(cause, "bad CO-RE relocation"), strings.Contains(cause, "unknown kfunc"):
		return false // the kernel lacks what the program was written for
	case r.Processed > 0:
		return true
	case len(r.Log) == 0, errors.Is(v, unix.EPERM):
		return false
	}
	// Types that attach to a kernel function or structure are refused ahead of
	// the walk where this kernel doesn't have it.
	switch r.Type {
	case ebpf.Tracing, ebpf.LSM, ebpf.Extension, ebpf.StructOps:
		return false
	}
	return true
}

// statsPrefixes begin the lines that the verifier adds for BPF_LOG_STATS.
var statsPrefixes = []string{"processed ", "verification time ", "stack depth ", "mark_precise:", "insns "}

// complaint is a log without statistics and without empty lines.
func complaint(log []string) []string {
	return slices.DeleteFunc(slices.Clone(log), func(line string) bool {
		return line == "" || slices.ContainsFunc(statsPrefixes, func(p string) bool { return strings.HasPrefix(line, p) })
	})
}

// processed finds N in "processed N insns (limit 1000000) …".
func processed(log []string) int {
	for _, line := range slices.Backward(log) {
		var n int
		if _, err := fmt.Sscanf(line, "processed %d insns", &n); err == nil {
			return n
		}
	}
	return 0
}

// reason is the verifier's last complaint and the kernel's error.
func reason(v *ebpf.VerifierError) string {
	log := slices.DeleteFunc(complaint(v.Log), func(line string) bool {
		return strings.HasPrefix(line, "cur state:") || strings.HasPrefix(line, "old state:")
	})
	if len(log) == 0 {
		return v.Cause.Error()
	}
	said := strings.Join(log[max(0, len(log)-2):], "; ")
	return fmt.Sprintf("%s (%v)", said, v.Cause)
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
