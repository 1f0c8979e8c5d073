package driver

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/k2cc/k2cc/driver/args"
)

// alternative is another object of the same source, which passes on LLVM IR helped
// to make. Nobody has proven that it does the same: settings switch it on.
type alternative struct {
	Object []byte
	By     string // what made it
	Left   string // why there is none, though settings want one
}

// outcome is what the report says.
func (c alternative) outcome() string {
	switch {
	case c.By == "":
		return ""
	case c.Left != "":
		return fmt.Sprintf("llvm.passes = %s: not used: %s", c.By, c.Left)
	}
	return fmt.Sprintf("llvm.passes = %s: used, outside of what is proven", c.By)
}

// passesVariable tells the plugin in the clang that k2cc runs which passes it is
// wanted for. Without it, the plugin leaves everything to k2cc.
const passesVariable = variablePrefix + "RUNS_PASSES"

// withIRPasses compiles once more, with the plugin's passes, if settings want
// that. Clang has written the object already, as the user called it: what goes
// wrong here costs no more than the passes.
func (c *call) withIRPasses(ctx context.Context, clang string, j args.Job, found settings) alternative {
	if len(found.LLVM.Passes) == 0 {
		return alternative{}
	}
	names := passNames(found)
	plugin, err := c.findPlugin(clang)
	if err != nil {
		return alternative{By: names, Left: err.Error()}
	}
	out := alternative{By: names + " (" + filepath.Base(plugin) + ")"}
	out.Object, err = c.compileAgain(ctx, clang, plugin, names, j)
	if err != nil {
		out.Left = err.Error()
	}
	return out
}

// passNames are the passes on LLVM IR that settings want, with commas between.
func passNames(found settings) string {
	names, _ := found.Value("llvm.passes")
	return names
}

// findPlugin finds the plugin for a compiler's version, where make plugin or make
// install put it.
func (d *driver) findPlugin(clang string) (string, error) {
	version := (&prober{dir: d.cacheDir()}).probe(clang).Version
	name := fmt.Sprintf("libk2-%d.so", version)
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", fmt.Errorf("find k2cc's own program: %w", err)
	}
	dir := filepath.Dir(self)
	for _, path := range []string{filepath.Join(dir, name), filepath.Join(dir, "..", "lib", "k2cc", name)} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no %s, neither beside k2cc nor in ../lib/k2cc", name)
}

// compileAgain has clang write a job's object to a file of our own, with the
// plugin and without a word.
func (c *call) compileAgain(ctx context.Context, clang, plugin, names string, j args.Job) ([]byte, error) {
	runtime.LockOSThread() // Pdeathsig is about the thread that starts clang
	defer runtime.UnlockOSThread()
	dir, err := os.MkdirTemp("", "k2cc-passes-")
	if err != nil {
		return nil, fmt.Errorf("compile with passes: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "out.o")
	expanded, _ := args.Expand(c.argv)
	argv, ok := args.Alone(expanded, j, file)
	if !ok {
		return nil, fmt.Errorf("%s can't be compiled once more without side effects", j.Input)
	}
	cmd := exec.CommandContext(ctx, clang, append([]string{"-fpass-plugin=" + plugin}, argv...)...)
	cmd.Env = append(clangEnvironment(clang), passesVariable+"="+names)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("compile with passes: %w%s", err, firstLine(said.String()))
	}
	object, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("compile with passes: %w", err)
	}
	return object, nil
}

// readAlternative is the alternative in a file that the plugin, or whoever calls
// k2cc opt, has made; none without a file.
func readAlternative(file string, found settings) alternative {
	if file == "" {
		return alternative{}
	}
	out := alternative{By: cmp.Or(passNames(found), file)}
	object, _, err := readObject(file)
	if err != nil {
		out.Left = fmt.Sprintf("alternative not read: %v", err)
	}
	out.Object = object
	return out
}
