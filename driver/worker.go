package driver

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/k2cc/k2cc/driver/cores"
	"github.com/k2cc/k2cc/toml"
)

// workerFlag as only argument makes k2cc optimise one object from its input to
// its output. The work is done in a process of its own since no recover
// catches what may end it: the prover is a C++ library, and memory is finite.
const workerFlag = "--k2-worker"

// task is an object to optimise.
type task struct {
	name     string // for messages
	in, out  string // files
	settings settings
	level    int    // see Options
	report   bool   // print what was done
	cacheDir string // for what earlier runs found out; "" for the user's own
	// alternative is another object to start from, if that is better.
	alternative alternative
}

// limit is the time after which the optimiser is given up. Budgets count work
// as the time it may take; a slow or busy machine gets several times that
// before the user has waited long enough.
func (t task) limit() time.Duration {
	return 4*t.settings.Nets().Object + time.Second
}

// request is a task as the worker gets it.
type request struct {
	Name     string
	Settings []toml.Source
	Level    int
	Cores    int // that the worker may use
	CacheDir string
	Object   []byte

	Alternative alternative
}

// response is what the worker returns.
type response struct {
	Object []byte
	Report *Report
	Error  string
	Kind   string // of the error
}

// isolated optimises in a worker process.
func (d *driver) isolated(ctx context.Context, object []byte, t task) ([]byte, *Report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find k2cc's own program: %w", err)
	}
	share := cores.Take(os.Getenv("MAKEFLAGS"), d.cacheDir())
	defer share.Release()
	if t.cacheDir == "" {
		t.cacheDir = d.cacheDir()
	}
	return runIsolated(ctx, exec.CommandContext(ctx, self, workerFlag), object, t, share.N)
}

// runIsolated has a worker, not yet started, do a task.
func runIsolated(ctx context.Context, worker *exec.Cmd, object []byte, t task, n int) ([]byte, *Report, error) {
	runtime.LockOSThread() // Pdeathsig is about the thread that starts the worker
	defer runtime.UnlockOSThread()
	var in, out, errs bytes.Buffer
	req := request{t.name, t.settings.sources, t.level, n, t.cacheDir, object, t.alternative}
	if err := gob.NewEncoder(&in).Encode(req); err != nil {
		return nil, nil, fmt.Errorf("start the optimiser: %w", err)
	}
	worker.Stdin, worker.Stdout, worker.Stderr = &in, &out, &errs
	worker.WaitDelay = time.Second // its children may hold the pipes
	worker.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := worker.Run(); err != nil {
		if interrupted(ctx, worker) {
			return nil, nil, ctx.Err()
		}
		return nil, nil, because("optimiser ended early", fmt.Errorf("the optimiser ended early: %w%s", err, firstLine(errs.String())))
	}
	var resp response
	if err := gob.NewDecoder(&out).Decode(&resp); err != nil {
		return nil, nil, fmt.Errorf("read the optimiser's answer: %w", err)
	}
	if resp.Error != "" {
		return nil, nil, because(resp.Kind, errors.New(resp.Error))
	}
	return resp.Object, resp.Report, nil
}

// interrupted tells whether a worker ended since the context did. A terminal
// sends its signals to both, and the worker may be the first to see one.
func interrupted(ctx context.Context, worker *exec.Cmd) bool {
	if worker.ProcessState != nil {
		status, ok := worker.ProcessState.Sys().(syscall.WaitStatus)
		if ok && status.Signaled() && slices.Contains(endingSignals, os.Signal(status.Signal())) {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return ctx.Err() != nil
}

// firstLine extracts what a crashed process said first, as an addition to an
// error.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if line == "" {
		return ""
	}
	return " (" + line + ")"
}

// runWorker is the worker process.
func runWorker(in io.Reader, errs io.Writer) int {
	signal.Ignore(endingSignals...) // they are for the parent, which ends the worker
	answer, err := claimOutput()
	if err == nil {
		err = limitMemory(memoryLimit)
	}
	if err == nil {
		err = answerRequest(in, answer, Optimize)
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailure
	}
	return 0
}

// memoryLimit in bytes bounds what a worker may hold, of which the prover takes
// the most. A worker that needs more fails, which costs no more than its work.
const memoryLimit = 4 << 30

// limitMemory bounds what this process may allocate.
func limitMemory(bytes uint64) error {
	limit := unix.Rlimit{Cur: bytes, Max: bytes}
	var old unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_DATA, &old)
	if err == nil && old.Max >= bytes {
		err = unix.Setrlimit(unix.RLIMIT_DATA, &limit)
	}
	if err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	return nil
}

// claimOutput returns standard output and leads what else may be printed
// there, by whatever library, to standard error.
func claimOutput() (*os.File, error) {
	fd, err := syscall.Dup(1)
	if err == nil {
		err = syscall.Dup3(2, 1, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("redirect standard output: %w", err)
	}
	return os.NewFile(uintptr(fd), "answer"), nil
}

// answerRequest has the optimiser do what is asked for. Its failures are part
// of the answer; an error means that there is none.
func answerRequest(in io.Reader, out io.Writer, optimize optimizeFunc) error {
	var req request
	if err := gob.NewDecoder(in).Decode(&req); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	var resp response
	var err error
	resp.Object, resp.Report, err = handle(req, optimize)
	if err != nil {
		resp = response{Error: err.Error(), Kind: kindOf(err)}
	}
	if err := gob.NewEncoder(out).Encode(resp); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

// optimizeFunc is the type of Optimize.
type optimizeFunc func(ctx context.Context, in []byte, opts Options) (out []byte, rep *Report, err error)

// handle optimises the object of a request.
func handle(req request, optimize optimizeFunc) (object []byte, rep *Report, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = because("panic", fmt.Errorf("panic: %v", r))
			os.Stderr.Write(debug.Stack())
		}
	}()
	config, _, err := toml.Merge(req.Settings)
	if err != nil {
		return nil, nil, err
	}
	runtime.GOMAXPROCS(max(1, req.Cores))
	opts := Options{Name: req.Name, Config: config, Level: req.Level, Alternative: req.Alternative}
	var unusable string
	opts.Cache, unusable = openCache(req.CacheDir)
	defer opts.Cache.Close()
	object, rep, err = optimize(context.Background(), req.Object, opts)
	if rep != nil {
		rep.Cache = unusable
	}
	return object, rep, err
}
