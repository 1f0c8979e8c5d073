// Package toml holds k2.toml, the file in which a user says what k2cc shall
// optimise for and how hard it shall try: schema, defaults, discovery. What it
// hands out is checked and complete, so nothing below the driver validates
// settings again.
package toml

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FileName is what Find looks for.
const FileName = "k2.toml"

// Goal says which measure counts first. GoalSize alone allows atomics that the
// input does not have.
type Goal string

// The goals.
const (
	GoalBalanced Goal = "balanced" // the default: 8-byte slots, with nothing else getting worse
	GoalSize     Goal = "size"     // 8-byte slots
	GoalLatency  Goal = "latency"  // time per run of the JITed program
	GoalVerifier Goal = "verifier" // instructions that the kernel's verifier walks
)

// Effort says how much work goes into looking for better code.
type Effort string

// The efforts.
const (
	EffortFast   Effort = "fast"   // rewriting by rules alone: about as long as clang takes
	EffortNormal Effort = "normal" // the default: search within some seconds for an object
	EffortHigh   Effort = "high"   // highEffort times as much search
)

// highEffort is how much more work the highest effort may take than the normal.
const highEffort = 10

// ISA is a BPF instruction set level, v1 to v4 as in clang's -mcpu; 0 stands
// for "auto", whatever the input was compiled for.
type ISA int

// String names the level as k2.toml does.
func (i ISA) String() string {
	if i == 0 {
		return "auto"
	}
	return fmt.Sprintf("v%d", int(i))
}

// KernelCheck says whether the running kernel's verifier is asked about the
// optimised programs.
type KernelCheck string

// The kernel checks.
const (
	KernelOn      KernelCheck = "on"      // asked where permitted
	KernelOff     KernelCheck = "off"     // never asked
	KernelRequire KernelCheck = "require" // without its consent the input stays as it is
)

// Region is a kind of memory that a program's pointers lead to.
type Region string

// The regions that others may share with a program. Stack and context are
// always its own.
const (
	RegionMap    Region = "map"    // map values, global data
	RegionPacket Region = "packet" // packet data
	RegionOther  Region = "other"  // whatever else a pointer may lead to
)

// Budget is the time that work may take, as the net below counted budgets.
type Budget struct {
	Window time.Duration // on one window
	Object time.Duration // on one object file
}

// Window shapes the stretches of code that are optimised at once.
type Window struct {
	Size int // most instructions in a window
}

// Memory describes who else may touch a program's memory.
type Memory struct {
	// Shared lists the regions that others may read and write at any time:
	// accesses there are never multiplied, invented or swapped.
	Shared []Region
}

// IsShared tells whether others may touch the region while the program runs.
func (m Memory) IsShared(r Region) bool { return slices.Contains(m.Shared, r) }

// IRPass is a pass on LLVM IR, of the plugin for clang. What such a pass does is
// proven by nobody.
type IRPass string

// The passes on LLVM IR.
const (
	IRAtomic IRPass = "k2-atomic" // atomic load, operation, atomic store: one operation
	IRMerge  IRPass = "k2-merge"  // adjacent loads and stores: one
	IRWiden  IRPass = "k2-widen"  // packed loads and stores of packets and map values at full width
)

// LLVM says what the plugin for clang does beside running k2cc.
type LLVM struct {
	Passes []IRPass // to run on LLVM IR, in order
}

// Limit is how much worse than clang's code the output may be by one measure.
// The zero Limit stands for none.
type Limit struct {
	Set     bool
	Percent float64
}

// String is the limit as k2.toml has it.
func (l Limit) String() string {
	if !l.Set {
		return "none"
	}
	return strconv.FormatFloat(l.Percent, 'g', -1, 64) + "%"
}

// atMost is a limit in percent.
func atMost(percent float64) Limit { return Limit{true, percent} }

// Limits are those of all measures.
type Limits struct {
	Slots    Limit // 8-byte slots
	Code     Limit // bytes of JITed code
	Time     Limit // time per run, as estimated
	Verifier Limit // instructions that the verifier walks
}

// defaultLimits are the limits where k2.toml has no others.
func defaultLimits(g Goal) Limits {
	switch g {
	case GoalSize:
		return Limits{Slots: atMost(0), Code: atMost(50), Verifier: atMost(50)}
	case GoalLatency:
		return Limits{Slots: atMost(0), Code: atMost(10), Time: atMost(0), Verifier: atMost(25)}
	case GoalVerifier:
		return Limits{Slots: atMost(0), Code: atMost(10), Time: atMost(10), Verifier: atMost(0)}
	}
	return Limits{Slots: atMost(0), Code: atMost(0), Time: atMost(0), Verifier: atMost(5)}
}

// Config is a complete set of settings.
type Config struct {
	Goal   Goal
	Effort Effort
	Limits Limits
	Clang  string // path or name of the compiler; empty: the newest on PATH
	ISA    ISA    // upper bound on what the output may use
	Strict bool   // failing to optimise is an error
	Passes string // pipeline; empty: the built-in one
	Kernel KernelCheck
	Budget Budget
	Window Window
	Memory Memory
	LLVM   LLVM

	// Trust lists folders whose k2.toml may say what the user alone may say.
	Trust []string

	// Skip tells to leave a program as it is. Only an override sets it.
	Skip bool

	limits    []change // of Limits, on top of those that follow from the goal
	overrides []override
	from      map[string]string // the source of each key that one sets
}

// resolve fills in the limits.
func (c *Config) resolve() {
	c.Limits = defaultLimits(c.Goal)
	for _, apply := range c.limits {
		apply(c)
	}
}

// Nets is the time that work may take with the effort that is wanted.
func (c *Config) Nets() Budget {
	if c.Effort == EffortHigh {
		return Budget{Window: highEffort * c.Budget.Window, Object: highEffort * c.Budget.Object}
	}
	return c.Budget
}

// Work is how much work goes into search, of what is normal.
func (e Effort) Work() int {
	switch e {
	case EffortFast:
		return 0
	case EffortHigh:
		return highEffort
	}
	return 1
}

// override changes settings of the programs that match its globs.
type override struct {
	program, section string            // an empty glob matches everything
	changes          map[string]change // by the key's path
	from             string            // the file; empty: pairs, which hold for all programs
}

// change is one setting, checked and ready to be applied.
type change func(*Config)

// Default returns the settings that hold where no k2.toml says otherwise.
func Default() *Config {
	return &Config{
		Goal:   GoalBalanced,
		Effort: EffortNormal,
		Limits: defaultLimits(GoalBalanced),
		Kernel: KernelOn,
		Budget: Budget{Window: 30 * time.Second, Object: 30 * time.Second},
		Window: Window{Size: 48},
		Memory: Memory{Shared: []Region{RegionMap, RegionOther}},
	}
}

// For returns the settings of one program: those of the file, changed by every
// matching override in the order of the file. program is the function's name,
// section that of the ELF section that holds it.
func (c *Config) For(program, section string) Config {
	resolved := *c
	resolved.overrides = nil
	resolved.limits = slices.Clone(c.limits)
	resolved.Memory.Shared = slices.Clone(c.Memory.Shared)
	for _, o := range c.overrides {
		if !matches(o.program, program) || !matches(o.section, section) {
			continue
		}
		for _, apply := range o.changes {
			apply(&resolved)
		}
	}
	resolved.resolve()
	return resolved
}

// matches is path.Match except that * and ? match slashes too, since section
// names are full of them ("tracepoint/syscalls/sys_enter_open").
func matches(glob, name string) bool {
	if glob == "" {
		return true
	}
	ok, err := path.Match(hideSlashes(glob), hideSlashes(name))
	return ok && err == nil // the glob was checked when it was read
}

// hideSlashes puts a character that means nothing to path.Match for each
// slash, and that no symbol or section name holds.
func hideSlashes(s string) string { return strings.ReplaceAll(s, "/", "\x01") }

// Find looks for k2.toml in dir and its parents, up to the root of the
// repository (the folder that holds .git), the user's home or the root of the
// file system.
func Find(dir string) (file string, ok bool) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", false
	}
	home, _ := os.UserHomeDir()
	for {
		file := filepath.Join(dir, FileName)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, true
		}
		parent := filepath.Dir(dir)
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil || parent == dir || dir == home {
			return "", false
		}
		dir = parent
	}
}
