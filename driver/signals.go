package driver

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// interrupts ends a context when a signal asks the process to end, and keeps
// which one it was.
type interrupts struct {
	context.Context
	got atomic.Int32
}

// endingSignals ask a process to end.
var endingSignals = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT}

// listen begins to watch for signals, those excepted that k2cc was started with
// as ignored (as nohup does). To write where nobody reads is an error as others
// are from then on, and ends nothing.
func (d *driver) listen() (ctx *interrupts, stop func()) {
	inner, cancel := context.WithCancel(context.Background())
	ctx = &interrupts{Context: inner}
	ch, pipes := make(chan os.Signal, 1), make(chan os.Signal, 1)
	notify(ch, endingSignals...)
	notify(pipes, unix.SIGPIPE)
	d.settled()
	go func() {
		select {
		case sig := <-ch:
			ctx.got.Store(int32(sig.(syscall.Signal)))
			cancel()
		case <-inner.Done():
		}
	}()
	return ctx, func() { signal.Stop(ch); signal.Stop(pipes); cancel() }
}

// notify is signal.Notify for what is not ignored.
func notify(ch chan<- os.Signal, signals ...os.Signal) {
	for _, sig := range signals {
		if !signal.Ignored(sig) {
			signal.Notify(ch, sig)
		}
	}
}

// quitQuietly has SIGQUIT end the process as it ends clang, without the stack
// traces of Go's runtime, until stop is called.
func quitQuietly() (stop func()) {
	ch := make(chan os.Signal, 1)
	notify(ch, unix.SIGQUIT)
	go func() {
		<-ch
		dieBy(unix.SIGQUIT)
	}()
	return func() { signal.Stop(ch) }
}

// signal is the signal that came; 0: none.
func (i *interrupts) signal() syscall.Signal { return syscall.Signal(i.got.Load()) }

// dieBy ends the process by a signal, so that its parent sees what it would see
// of clang. It returns only where the system would not have it.
func dieBy(sig syscall.Signal) {
	// One memory image, clang's own, is enough.
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	// The default action, also where Go's runtime would print a stack trace.
	action := struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}{}
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
	runtime.LockOSThread()
	var none unix.Sigset_t
	unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil)
	unix.Kill(unix.Getpid(), sig)
	unix.Pause()
}
