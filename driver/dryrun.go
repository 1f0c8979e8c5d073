package driver

import (
	"bytes"
	"context"
	"os/exec"
	"slices"
	"strings"
)

// job is one object that a call of clang writes.
type job struct {
	input, output string
	cpu           string // the value of -mcpu, if it was given
	optimised     bool   // clang was asked for any level above -O0
}

// planJobs asks clang what a call would do. ok tells that the call compiles C
// to BPF objects in files and does nothing else; only then does k2cc step in.
// Clang's own answer (-###) covers what no list of options could: response and
// configuration files, environment variables, defaults of other versions.
func planJobs(ctx context.Context, clang string, args []string) (jobs []job, ok bool) {
	if !mayBeBPF(args) {
		return nil, false
	}
	cmd := exec.CommandContext(ctx, clang, append([]string{"-###"}, args...)...)
	cmd.Env = clangEnvironment(clang)
	var plan bytes.Buffer
	cmd.Stderr = &plan
	if cmd.Run() != nil {
		return nil, false // clang will say so itself
	}
	return parsePlan(plan.String())
}

// mayBeBPF spares calls that have nothing to do with BPF the question.
func mayBeBPF(args []string) bool {
	if slices.Contains(args, "-###") || len(args) > 0 && strings.HasPrefix(args[0], "-cc1") {
		return false
	}
	return slices.ContainsFunc(args, func(arg string) bool {
		return strings.Contains(arg, "bpf") || strings.HasPrefix(arg, "@") || strings.HasPrefix(arg, "--config")
	})
}

// parsePlan reads the output of clang -###: one command a line, every word of
// it quoted, amid lines of other kinds.
func parsePlan(plan string) (jobs []job, ok bool) {
	for line := range strings.Lines(plan) {
		if !strings.HasPrefix(line, ` "`) {
			continue
		}
		j, ok := parseCommand(splitQuoted(line))
		if !ok {
			return nil, false
		}
		jobs = append(jobs, j)
	}
	return jobs, len(jobs) > 0
}

// parseCommand reads one command of a plan. ok tells that it makes a BPF
// object from C (or preprocessed C) and writes it to a file.
func parseCommand(words []string) (j job, ok bool) {
	n := len(words)
	if n < 5 || words[1] != "-cc1" || words[n-3] != "-x" {
		return job{}, false
	}
	j.input = words[n-1]
	isC := words[n-2] == "c" || words[n-2] == "cpp-output"
	var triple string
	emitsObject := false
	for i, word := range words[:n-3] {
		switch value := words[i+1]; {
		case word == "-triple":
			triple = value
		case word == "-target-cpu":
			j.cpu = value
		case word == "-o":
			j.output = value
		case word == "-emit-obj":
			emitsObject = true
		case len(word) == 3 && strings.HasPrefix(word, "-O"):
			j.optimised = word != "-O0"
		}
	}
	ok = isC && emitsObject && isBPF(triple) && j.output != "" && j.output != "-"
	return j, ok
}

// isBPF recognises bpf, bpfel and bpfeb, bare or with vendor and system.
func isBPF(triple string) bool {
	arch, _, _ := strings.Cut(triple, "-")
	return arch == "bpf" || arch == "bpfel" || arch == "bpfeb"
}

// splitQuoted splits a line of words in double quotes, in which backslashes
// take the meaning from the character that follows.
func splitQuoted(line string) []string {
	var words []string
	var word strings.Builder
	inside, escaped := false, false
	for _, c := range []byte(line) {
		switch {
		case escaped:
			word.WriteByte(c)
			escaped = false
		case inside && c == '\\':
			escaped = true
		case inside && c == '"':
			words = append(words, word.String())
			word.Reset()
			inside = false
		case inside:
			word.WriteByte(c)
		case c == '"':
			inside = true
		}
	}
	return words
}
