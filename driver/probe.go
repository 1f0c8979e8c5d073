package driver

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// ability is what a compiler says of itself.
type ability struct {
	Version int  // the major number; -1: it is no clang
	BPF     bool // it compiles for BPF

	// The program that said so, to notice that it was replaced.
	Size    int64
	Changed time.Time
}

// prober asks compilers what they can do. Answers are kept in a folder, since
// asking takes as long as compiling something small.
type prober struct {
	dir   string             // empty: they are kept nowhere
	known map[string]ability // by path; nil: not read yet
}

// probeFile is where answers are kept.
const probeFile = "clang.json"

// probe asks a compiler, or remembers.
func (p *prober) probe(path string) ability {
	info, err := os.Stat(path) // of what a link leads to
	if err != nil {
		return ability{Version: -1}
	}
	p.load()
	if a, ok := p.known[path]; ok && a.Size == info.Size() && a.Changed.Equal(info.ModTime()) {
		return a
	}
	a := abilityOf(path)
	a.Size, a.Changed = info.Size(), info.ModTime()
	p.known[path] = a
	p.save()
	return a
}

func (p *prober) load() {
	if p.known != nil {
		return
	}
	if p.dir != "" {
		text, err := os.ReadFile(filepath.Join(p.dir, probeFile))
		if err == nil && json.Unmarshal(text, &p.known) != nil {
			p.known = nil
		}
	}
	if p.known == nil {
		p.known = map[string]ability{}
	}
}

// save keeps what is known. If that can't be, the next one asks again.
func (p *prober) save() {
	text, err := json.MarshalIndent(p.known, "", "\t")
	if err != nil || p.dir == "" || os.MkdirAll(p.dir, 0o755) != nil {
		return
	}
	_ = replaceFile(filepath.Join(p.dir, probeFile), text, 0o644)
}

var (
	versionLine = regexp.MustCompile(`clang version (\d+)`)
	bpfLine     = regexp.MustCompile(`(?m)^\s+bpf\s`)
)

// abilityOf runs a compiler.
func abilityOf(path string) ability {
	a := ability{Version: -1}
	if match := versionLine.FindStringSubmatch(output(path, "--version")); match != nil {
		a.Version, _ = strconv.Atoi(match[1])
		a.BPF = bpfLine.MatchString(output(path, "--print-targets"))
	}
	return a
}

// output is what a compiler prints, empty if it fails.
func output(path, option string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, option)
	cmd.Env = clangEnvironment(path)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}
