// Package driver is the command line: it stands in for clang, optimises the
// BPF objects that clang writes, and offers subcommands for objects that exist
// already. It keeps the promise never to break a build: whatever fails behind
// it, the user gets clang's own object and one line that says why.
package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode"

	"github.com/k2cc/k2cc/driver/inherited"
)

// Streams are the standard streams of the process.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exit codes of k2cc's own. Clang itself returns none of them.
const (
	exitStrict = 101 // an object could not be optimised, and settings say that this is an error
	exitMisuse = 102 // options or variables of k2cc's that it does not know, or k2cc as its own compiler
)

// Exit codes as shells use them.
const (
	exitFailure  = 1
	exitCantRun  = 126
	exitNotFound = 127
	exitSignal   = 128 // plus the signal's number

	exitInterrupted = exitSignal + 2
)

// optimizer makes an object better: Optimize, by way of a process of its own.
type optimizer func(ctx context.Context, in []byte, task task) (out []byte, rep *Report, err error)

// driver is one run of k2cc.
type driver struct {
	Streams
	optimize         optimizer
	die              func(syscall.Signal)
	settled          func()                                         // to be called when signals are taken care of
	exec             func(program string, argv, env []string) error // replaces the process
	env              environment
	wrongEnvironment error // what is wrong with it
	warned           bool  // what was left out of settings has been said
}

// Main runs k2cc with the arguments, of which the first is the program's own
// name, and returns its exit code. For calls that are clang's business it does
// not return: clang takes the process over. Where clang or k2cc is ended by a
// signal, the process ends by that signal.
func Main(args []string, streams Streams) int {
	inherited.IgnoreSignals()
	d := newDriver(streams)
	d.optimize, d.die, d.settled, d.exec = d.isolated, dieBy, quitQuietly(), syscall.Exec
	return d.run(args)
}

// newDriver makes a driver that leaves the process alone.
func newDriver(streams Streams) *driver {
	d := &driver{
		Streams: streams,
		die:     func(syscall.Signal) {},
		settled: func() {},
		exec:    func(string, []string, []string) error { return errors.ErrUnsupported },
	}
	d.env, d.wrongEnvironment = parseEnvironment(os.Environ())
	return d
}

func (d *driver) run(args []string) int {
	if len(args) == 0 {
		return d.fail("started without a name")
	}
	if len(args) > 1 && args[1] == workerFlag {
		return runWorker(d.In, d.Err)
	}
	if len(args) > 1 && isSubcommand(args[1]) {
		return d.subcommand(args)
	}
	return d.compile(args[1:])
}

// misuse says what is wrong about how k2cc was called.
func (d *driver) misuse(format string, args ...any) int {
	d.say(format, args...)
	return exitMisuse
}

// say prints one line to standard error, whatever the text holds: names in an
// object may be anything, and terminals obey control characters.
func (d *driver) say(format string, args ...any) {
	line := strings.TrimSpace(fmt.Sprintf(format, args...))
	var out strings.Builder
	for _, r := range strings.ReplaceAll(line, "\n", "; ") {
		if unicode.IsControl(r) && r != '\t' {
			fmt.Fprintf(&out, `\x%02x`, r)
			continue
		}
		out.WriteRune(r)
	}
	fmt.Fprintln(d.Err, "k2cc: "+out.String())
}

func (d *driver) fail(format string, args ...any) int {
	d.say(format, args...)
	return exitFailure
}
