package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/k2cc/k2cc/cache"
)

// NewRemembering returns a Loader that asks a kernel about an object once: what
// one booted kernel says of the same bytes to a process with the same rights it
// says again.
func NewRemembering(c *cache.Cache) *Loader {
	l := NewLoader()
	if who, ok := kernelIdentity(); ok {
		l.cache, l.kernel = c, who
	}
	return l
}

// kernelIdentity is what the kernel's word on an object depends on, besides the
// object. It reports false where not all of that can be told.
func kernelIdentity() ([]byte, bool) {
	var id bytes.Buffer
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, false
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, false
	}
	fmt.Fprintln(&id, string(boot), uts.Release, uts.Version, uts.Machine, os.Geteuid())
	// Where one of these is not there it says nothing on this kernel.
	for _, name := range []string{
		"/proc/sys/net/core/bpf_jit_enable",
		"/proc/sys/net/core/bpf_jit_harden",
		"/proc/sys/kernel/unprivileged_bpf_disabled",
		"/sys/kernel/security/lockdown",
	} {
		text, _ := os.ReadFile(name)
		fmt.Fprintf(&id, "%s %q\n", name, text)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, false
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "CapEff:") {
			id.WriteString(line)
		}
	}
	// Modules bring kernel functions and types.
	modules, _ := os.ReadFile("/proc/modules")
	for line := range strings.Lines(string(modules)) {
		if fields := strings.Fields(line); len(fields) > 1 {
			fmt.Fprintln(&id, fields[0], fields[1])
		}
	}
	return id.Bytes(), true
}

// question is the key of what is asked of the kernel.
func (l *Loader) question(obj []byte, opts Options) (cache.Key, bool) {
	text, err := json.Marshal(opts)
	if l.cache == nil || err != nil {
		return cache.Key{}, false
	}
	return cache.KeyOf("kernel", l.kernel, text, obj), true
}

// recall returns what was said before.
func (l *Loader) recall(obj []byte, opts Options) ([]ProgramResult, bool) {
	key, ok := l.question(obj, opts)
	if !ok {
		return nil, false
	}
	var results []ProgramResult
	text, ok := l.cache.Get(key)
	return results, ok && json.Unmarshal(text, &results) == nil
}

// remember keeps what was said. That a program was not looked at may be different
// the next time.
func (l *Loader) remember(obj []byte, opts Options, results []ProgramResult) {
	key, ok := l.question(obj, opts)
	if !ok || slices.ContainsFunc(results, func(r ProgramResult) bool { return r.State == Untried }) {
		return
	}
	if text, err := json.Marshal(results); err == nil {
		l.cache.Put(key, text)
	}
}
