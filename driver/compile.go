package driver

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/k2cc/k2cc/driver/args"
	"github.com/k2cc/k2cc/driver/stats"
)

// call is one call of k2cc in clang's place.
type call struct {
	*driver
	own  ownOptions
	argv []string // for clang: the user's own, without k2cc's options
	jobs []args.Job
	why  args.Reason // why there are no jobs
	dir  string      // the first input's folder
}

// Reasons to leave a call to clang that do not lie in its command line.
const (
	disabled args.Reason = "switched off (" + disableVariable + ")"
	noObject args.Reason = "clang wrote no BPF object"
	wrong    args.Reason = "clang failed"
	noRoom   args.Reason = "clang could not be started beside k2cc"
)

// compile stands in for clang.
func (d *driver) compile(words []string) int {
	if other := os.Getenv(guardVariable); other != "" {
		return d.misuse("the compiler %s leads back to k2cc; name clang itself in k2.toml (clang) or %s", other, variableName("clang"))
	}
	if d.wrongEnvironment != nil && !d.env.disable {
		return d.misuse("%v", d.wrongEnvironment)
	}
	c, err := d.newCall(words)
	if err != nil {
		return d.misuse("%v", err)
	}
	found, _ := d.loadSettings(c.own, c.dir) // what is wrong is said where it is needed in earnest
	clang, err := d.findClang(found.Clang)
	if err != nil {
		d.say("%v", err)
		return exitNotFound
	}
	if len(c.jobs) == 0 {
		d.count(func(s *stats.Counts) { s.Left[string(c.why)]++ })
		return d.become(clang, c.argv)
	}
	return c.run(clang)
}

// newCall reads a command line.
func (d *driver) newCall(words []string) (*call, error) {
	c := &call{driver: d}
	expanded, ok := args.Expand(words)
	options, rest := args.Cut(expanded, ownPrefix)
	if ok { // else it is clang's to complain
		var err error
		if c.own, err = parseOwn(options); err != nil {
			return nil, err
		}
	}
	inWords, argv := args.Cut(words, ownPrefix)
	if c.argv = argv; len(inWords) < len(options) {
		c.argv = rest // clang must not see those in the response files
	}
	c.jobs, c.why = args.Jobs(rest)
	c.jobs = lastOfEach(c.jobs)
	c.dir = filepath.Dir(args.FirstInput(rest))
	switch {
	case d.env.disable:
		c.jobs, c.why = nil, disabled
	case !ok:
		c.jobs, c.why = nil, args.Unusual
	case os.Getenv("CCC_OVERRIDE_OPTIONS") != "":
		c.jobs, c.why = nil, args.ConfigFile
	}
	return c, nil
}

// lastOfEach is the jobs without those whose object another one's replaces.
func lastOfEach(jobs []args.Job) (out []args.Job) {
	for _, j := range jobs {
		out = slices.DeleteFunc(out, func(o args.Job) bool { return o.Output == j.Output })
		out = append(out, j)
	}
	return out
}

// run compiles and then optimises what clang has written.
func (c *call) run(clang string) int {
	ctx, stop := c.listen()
	defer stop()
	before := make([]os.FileInfo, len(c.jobs))
	for i, j := range c.jobs {
		before[i], _ = os.Stat(j.Output)
	}
	code, killed, err := c.runClang(ctx, clang, c.argv)
	switch {
	case ctx.signal() != 0 && err != nil:
		return c.end(ctx.signal())
	case isShortage(err):
		return c.giveWay(clang, err)
	case err != nil:
		c.say("run clang: %v", err)
		return exitCantRun
	case killed != 0:
		return c.end(killed)
	case code != 0:
		c.count(func(s *stats.Counts) { s.Left[string(wrong)]++ })
		return code
	}
	for i, j := range c.jobs {
		if !isNew(before[i], j.Output) || !isObject(j.Output) {
			c.count(func(s *stats.Counts) { s.Left[string(noObject)]++ })
			continue
		}
		if code := c.improve(ctx, clang, j); code != 0 {
			return code
		}
		if sig := ctx.signal(); sig != 0 {
			return c.end(sig) // what is there is clang's, and whole
		}
	}
	return 0
}

// isShortage tells whether an error may not befall who needs less.
func isShortage(err error) bool {
	shortages := []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM}
	return slices.ContainsFunc(shortages, func(s error) bool { return errors.Is(err, s) })
}

// giveWay leaves k2cc's place to clang where there is none beside k2cc: one more
// process or open file may be too many.
func (c *call) giveWay(clang string, why error) int {
	c.count(func(s *stats.Counts) { s.Left[string(noRoom)]++ })
	if found, _ := c.loadSettings(c.own, c.dir); found.Strict {
		c.say("%v", why)
		return exitStrict
	}
	c.say("%v; leaving all to clang", why)
	return c.become(clang, c.argv)
}

// end ends the process by a signal.
func (d *driver) end(sig syscall.Signal) int {
	d.die(sig)
	return exitSignal + int(sig)
}

// isNew tells whether a file was written since it was looked at.
func isNew(before os.FileInfo, file string) bool {
	after, err := os.Stat(file)
	if err != nil {
		return false
	}
	return before == nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) || before.Size() != after.Size()
}

// isObject tells whether a file is a BPF object of its own: not /dev/null, not
// bitcode, not /dev/stdout.
func isObject(file string) bool {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if _, ok := descriptor(file); ok {
		return false
	}
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	var header [20]byte
	if _, err := io.ReadFull(f, header[:]); err != nil || string(header[:4]) != elf.ELFMAG {
		return false
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if header[elf.EI_DATA] == byte(elf.ELFDATA2MSB) {
		order = binary.BigEndian
	}
	return elf.Type(order.Uint16(header[16:])) == elf.ET_REL && elf.Machine(order.Uint16(header[18:])) == elf.EM_BPF
}

// improve optimises an object that clang has just written, in place: should
// anything go wrong, even k2cc's own end, clang's object is what is there. It
// returns k2cc's exit code.
func (c *call) improve(ctx *interrupts, clang string, j args.Job) int {
	found, err := c.loadSettings(c.own, filepath.Dir(j.Input))
	c.warn(found)
	if err != nil {
		c.countFailure(err)
	} else {
		err = c.improveFile(ctx, task{
			name:     j.Input,
			in:       j.Output,
			out:      j.Output,
			settings: found,
			level:    lowerLevel(int(found.ISA), cpuLevel(j.CPU)),
			report:   c.own.report || c.env.report,

			alternative: c.withIRPasses(ctx, clang, j, found),
		})
	}
	switch {
	case err == nil || ctx.signal() != 0:
		return 0
	case found.Strict:
		os.Remove(j.Output)
		c.say("%s: %v", j.Input, err)
		return exitStrict
	}
	c.say("%s: %v; using clang's object", j.Input, err)
	return 0
}

// warn says once what was left out of settings.
func (d *driver) warn(found settings) {
	if d.warned {
		return
	}
	for _, warning := range found.warnings {
		d.say("%s", warning)
		d.warned = true
	}
}

// improveFile optimises the object in one file into another or the same.
func (d *driver) improveFile(ctx context.Context, t task) error {
	object, info, err := readObject(t.in)
	if err != nil {
		err = because("object not read", err)
		d.countFailure(err)
		return err
	}
	better, rep, err := d.improveBytes(ctx, object, t)
	if err != nil {
		return err
	}
	if t.in != t.out || !slices.Equal(object, better) {
		if err := because("object not written", replaceFile(t.out, better, info.Mode())); err != nil {
			d.countFailure(err)
			return err
		}
	}
	d.warnOfRest(t.name, rep)
	if t.report {
		rep.print(d.Err, t.name)
	}
	return nil
}

// readObject reads a file and what has to stay the same about it.
func readObject(file string) ([]byte, os.FileInfo, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read object: %w", err)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read object: %w", err)
	}
	defer f.Close()
	object, err := readBounded(f)
	return object, info, err
}

// maxObject in bytes is far more than an object for the kernel has, and far less
// than memory.
const maxObject = 128 << 20

// readBounded reads an object, which may turn out to be a device without an end.
func readBounded(r io.Reader) ([]byte, error) {
	object, err := io.ReadAll(io.LimitReader(r, maxObject+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read object: %w", err)
	case len(object) > maxObject:
		return nil, fmt.Errorf("read object: larger than %d bytes", maxObject)
	}
	return object, nil
}

// improveBytes optimises an object, and counts what became of it.
func (d *driver) improveBytes(ctx context.Context, object []byte, t task) (better []byte, rep *Report, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = because("panic", fmt.Errorf("panic: %v", r))
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			d.countFailure(err)
		default:
			d.countObject(!slices.Equal(object, better), rep)
		}
	}()
	better, rep, err = d.optimizeInTime(ctx, object, t)
	if alone := rep.misunderstood(); err == nil && t.settings.Strict && alone != nil {
		return nil, nil, alone
	}
	return better, rep, err
}

// warnOfRest says what of an object was not understood.
func (d *driver) warnOfRest(name string, rep *Report) {
	if err := rep.misunderstood(); err != nil {
		d.countFailure(err)
		d.say("%s: %v", name, err)
	}
}

// optimizeInTime runs the optimiser and gives up on it when it is long past
// its budget.
func (d *driver) optimizeInTime(ctx context.Context, object []byte, t task) ([]byte, *Report, error) {
	ctx, cancel := context.WithTimeout(ctx, t.limit())
	defer cancel()
	better, rep, err := d.optimize(ctx, object, t)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, nil, because("out of time", fmt.Errorf("not done within %v", t.limit()))
	case err != nil:
		return nil, nil, err
	case len(better) == 0:
		return nil, nil, errors.New("the optimised object is empty")
	}
	return better, rep, nil
}

// count changes the statistics. That they can't be kept is no reason to disturb
// a build.
func (d *driver) count(change func(*stats.Counts)) {
	_ = stats.Store{Dir: d.cacheDir()}.Add(change)
}

func (d *driver) countFailure(err error) {
	d.count(func(s *stats.Counts) { s.Failed[kindOf(err)]++ })
}

func (d *driver) countObject(changed bool, rep *Report) {
	d.count(func(s *stats.Counts) {
		if changed {
			s.Optimised++
		} else {
			s.Unchanged++
		}
		if rep == nil {
			return
		}
		outOfTime, unsearched := false, false
		for _, f := range rep.Functions {
			s.SlotsBefore += int64(f.SlotsBefore)
			s.SlotsAfter += int64(f.SlotsAfter)
			outOfTime = outOfTime || f.OutOfTime
			unsearched = unsearched || f.Unsearched > 0
		}
		if outOfTime {
			s.OutOfTime++
		}
		if unsearched {
			s.Unsearched++
		}
	})
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
