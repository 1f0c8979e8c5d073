package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/k2cc/k2cc/toml"
)

// ownOptions are those of k2cc amid clang's.
type ownOptions struct {
	config string // --k2-config=FILE
	report bool   // --k2-report
}

// splitOptions takes k2cc's own options out of clang's.
func splitOptions(args []string) (own ownOptions, rest []string, err error) {
	for _, arg := range args {
		file, isConfig := strings.CutPrefix(arg, "--k2-config=")
		switch {
		case isConfig && file != "":
			own.config = file
		case arg == "--k2-report":
			own.report = true
		case strings.HasPrefix(arg, "--k2-"):
			return own, nil, fmt.Errorf("unknown option %s (there are --k2-report and --k2-config=FILE)", arg)
		default:
			rest = append(rest, arg)
		}
	}
	return own, rest, nil
}

// compile stands in for clang.
func (d *driver) compile(args []string) int {
	if other := os.Getenv(guardVariable); other != "" {
		return d.fail("the compiler %s leads back to k2cc; name clang itself in k2.toml (clang) or %s", other, clangVariable)
	}
	own, args, err := splitOptions(args)
	if err != nil {
		return d.fail("%v", err)
	}
	clang, err := findClang(configuredClang(own, args))
	if err != nil {
		d.say("%v", err)
		return exitNotFound
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	jobs, ok := planJobs(ctx, clang, args)
	if !ok {
		stop()
		return d.become(clang, args)
	}
	if code := d.runClang(ctx, clang, args); code != 0 {
		return code
	}
	for _, j := range jobs {
		if code := d.improve(ctx, j, own); code != 0 {
			return code
		}
	}
	return 0
}

// configuredClang reads which clang the settings name. What may be wrong with
// them is said when they are needed in earnest.
func configuredClang(own ownOptions, args []string) string {
	dir := "."
	for _, arg := range args {
		if filepath.Ext(arg) == ".c" && !strings.HasPrefix(arg, "-") {
			dir = filepath.Dir(arg)
			break
		}
	}
	found, _ := loadSettings(own.config, dir)
	return found.Clang
}

// settings are those that hold for an object.
type settings struct {
	*toml.Config
	file string // where they come from; empty: the defaults
}

// loadSettings reads the named file, or without a name that of the folder, or
// else takes the defaults. The settings hold what was right even on an error.
func loadSettings(file, dir string) (settings, error) {
	if file == "" {
		found, ok := toml.Find(dir)
		if !ok {
			return settings{Config: toml.Default()}, nil
		}
		file = found
	}
	config, err := toml.Load(file)
	return settings{config, file}, err
}

// improve optimises an object that clang has just written, in place: should
// anything go wrong, even k2cc's own end, clang's object is what is there. It
// returns k2cc's exit code.
func (d *driver) improve(ctx context.Context, j job, own ownOptions) int {
	found, err := loadSettings(own.config, filepath.Dir(j.input))
	if err == nil && j.optimised {
		err = d.improveFile(ctx, task{
			name:     j.input,
			in:       j.output,
			out:      j.output,
			settings: found,
			level:    lowerLevel(int(found.ISA), cpuLevel(j.cpu)),
			report:   own.report,
		})
	}
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil: // as clang does when it is interrupted
		os.Remove(j.output)
		return exitInterrupted
	case found.Strict:
		os.Remove(j.output)
		d.say("%s: %v", j.input, err)
		return exitStrict
	}
	d.say("%s: %v; using clang's object", j.input, err)
	return 0
}

// improveFile optimises the object in one file into another or the same.
func (d *driver) improveFile(ctx context.Context, t task) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	info, err := os.Stat(t.in)
	if err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil // /dev/null and the like
	}
	object, err := os.ReadFile(t.in)
	if err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	better, rep, err := d.optimizeInTime(ctx, object, t)
	if err != nil {
		return err
	}
	if err := replaceFile(t.out, better, info.Mode()); err != nil {
		return err
	}
	if t.report {
		rep.print(d.Err, t.name)
	}
	return nil
}

// optimizeInTime runs the optimiser and gives up on it when it is long past
// its budget.
func (d *driver) optimizeInTime(ctx context.Context, object []byte, t task) ([]byte, *Report, error) {
	ctx, cancel := context.WithTimeout(ctx, t.limit())
	defer cancel()
	better, rep, err := d.optimize(ctx, object, t)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, nil, fmt.Errorf("not done within %v", t.limit())
	case err != nil:
		return nil, nil, err
	case len(better) == 0:
		return nil, nil, errors.New("the optimised object is empty")
	}
	return better, rep, nil
}

// replaceFile writes a file in one step: readers see the old or the new bytes.
func replaceFile(name string, data []byte, mode os.FileMode) error {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		target = name // does not exist
	}
	f, err := os.CreateTemp(filepath.Dir(target), ".k2cc-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, withoutPath(err))
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode.Perm()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), target)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, withoutPath(err))
	}
	return nil
}

// withoutPath takes the names of temporary files out of an error.
func withoutPath(err error) error {
	if path := new(os.PathError); errors.As(err, &path) {
		return path.Err
	}
	if link := new(os.LinkError); errors.As(err, &link) {
		return link.Err
	}
	return err
}

// cpuLevel is the ISA level of a value of -mcpu, 0 if it says nothing.
func cpuLevel(cpu string) int {
	if len(cpu) == 2 && cpu[0] == 'v' && cpu[1] >= '1' && cpu[1] <= '4' {
		return int(cpu[1] - '0')
	}
	return 0
}

// lowerLevel joins two bounds, of which 0 is none.
func lowerLevel(a, b int) int {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
