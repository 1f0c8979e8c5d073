package driver

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/k2cc/k2cc/driver/args"
	"github.com/k2cc/k2cc/examples"
)

// candidate is an object to optimise and measure.
type candidate struct {
	name     string
	object   []byte
	err      error // why there is no object
	settings settings
	level    int               // see Options
	k2       int               // slots that K2 published, 0 if it didn't
	example  *examples.Example // what the object was compiled from, if it is known
}

// gather makes candidates of what the command line names, in its order.
func (d *driver) gather(ctx context.Context, args []string, own ownOptions) ([]candidate, error) {
	var all []candidate
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, fmt.Errorf("find what to measure: %w", err)
		}
		var found []candidate
		switch {
		case !info.IsDir():
			var c candidate
			c, err = d.fromFile(ctx, arg, own)
			found = []candidate{c}
		case exists(filepath.Join(arg, "pack.py")) && exists(filepath.Join(arg, "programs.tsv")):
			found, err = d.fromPublished(ctx, arg, own)
		default:
			found, err = d.fromFolder(ctx, arg, own)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// fromFolder takes every object and C file in a folder and those below it.
func (d *driver) fromFolder(ctx context.Context, dir string, own ownOptions) ([]candidate, error) {
	var found []candidate
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() || !slices.Contains([]string{".o", ".elf", ".c"}, filepath.Ext(path)) {
			return nil
		}
		c, err := d.fromFile(ctx, path, own)
		found = append(found, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("search %s: %w", dir, err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("found no objects and no C files in %s", dir)
	}
	return found, nil
}

// fromFile reads an object or compiles a C file. That a file does not compile
// is part of the results.
func (d *driver) fromFile(ctx context.Context, path string, own ownOptions) (candidate, error) {
	found, err := d.loadSettings(own, filepath.Dir(path))
	if err != nil {
		return candidate{}, err
	}
	c := candidate{name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), settings: found, level: int(found.ISA)}
	if filepath.Ext(path) != ".c" {
		c.object, c.err = os.ReadFile(path)
		return c, nil
	}
	c.name = strings.TrimSuffix(c.name, ".bpf")
	if c.err = d.compileCandidate(ctx, &c, path); ctx.Err() != nil {
		return c, ctx.Err()
	}
	return c, nil
}

// compileCandidate has clang make the object. The output may use the ISA level
// that clang was told to.
func (d *driver) compileCandidate(ctx context.Context, c *candidate, source string) error {
	clang, err := d.findClang(c.settings.Clang)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "k2cc-bench-")
	if err != nil {
		return fmt.Errorf("compile %s: %w", source, err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "out.o")
	words := append(examples.Flags(), "-c", source, "-o", out)
	if jobs, _ := args.Jobs(words); len(jobs) == 1 {
		c.level = lowerLevel(c.level, cpuLevel(jobs[0].CPU))
	}
	cmd := exec.CommandContext(ctx, clang, words...)
	cmd.Env = clangEnvironment(clang)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s: %w%s", source, err, firstLine(string(said)))
	}
	if c.object, err = os.ReadFile(out); err != nil {
		return fmt.Errorf("compile %s: %w", source, err)
	}
	return nil
}

// fromPublished packs the objects of a folder of published results.
func (d *driver) fromPublished(ctx context.Context, dir string, own ownOptions) ([]candidate, error) {
	found, err := d.loadSettings(own, dir)
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(filepath.Join(dir, "programs.tsv"))
	if err != nil {
		return nil, fmt.Errorf("read published results: %w", err)
	}
	programs, err := parsePublished(list)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, "programs.tsv"), err)
	}
	packed, err := os.MkdirTemp("", "k2cc-bench-")
	if err != nil {
		return nil, fmt.Errorf("pack objects: %w", err)
	}
	defer os.RemoveAll(packed)
	cmd := exec.CommandContext(ctx, "python3", filepath.Join(dir, "pack.py"), packed)
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pack objects: %w%s", err, lastLine(said))
	}
	var all []candidate
	for _, p := range programs {
		c := candidate{name: p.name, settings: found, level: int(found.ISA), k2: p.k2}
		c.object, c.err = os.ReadFile(filepath.Join(packed, p.stem+".o"))
		all = append(all, c)
	}
	return all, nil
}

// lastLine is where Python says what went wrong, as an addition to an error.
func lastLine(text []byte) string {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return ""
	}
	return " (" + string(text[bytes.LastIndexByte(text, '\n')+1:]) + ")"
}

// published is a line of programs.tsv: name, file stem, ELF section, slots of
// clang's best, slots as K2 published them.
type published struct {
	name, stem string
	k2         int
}

func parsePublished(list []byte) ([]published, error) {
	var all []published
	for line := range strings.Lines(string(list)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 5 {
			return nil, fmt.Errorf("%q has %d fields, want 5", line, len(fields))
		}
		k2, err := strconv.Atoi(fields[4])
		if err != nil {
			return nil, fmt.Errorf("published size of %s: %w", fields[0], err)
		}
		all = append(all, published{fields[0], fields[1], k2})
	}
	return all, nil
}
