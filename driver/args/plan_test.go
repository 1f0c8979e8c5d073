package args

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// clangs are the compilers to test against that are there.
func clangs(t testing.TB) (found []string) {
	for _, name := range []string{"clang-22", "clang-14"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		t.Skip("needs clang")
	}
	return found
}

// plan asks clang what it would do (-###), and returns the BPF objects that it
// would write from C, LLVM IR or assembly, in a folder that has the inputs.
func plan(t *testing.T, clang, dir string, words []string) (jobs []Job) {
	t.Helper()
	cmd := exec.Command(clang, append([]string{"-###"}, words...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil // clang will say so itself
	}
	source := "" // that a command before has preprocessed
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, ` "`) {
			continue
		}
		words := splitQuoted(line)
		if slices.Contains(words, "-E") && slices.Contains(words, "assembler-with-cpp") {
			source = words[len(words)-1]
			continue
		}
		j, ok := planned(words)
		if !ok {
			return nil
		}
		if source != "" {
			j.Input, source = source, ""
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// planned reads one command of a plan.
func planned(words []string) (Job, bool) {
	if len(words) < 3 {
		return Job{}, false
	}
	j := Job{Input: words[len(words)-1]}
	triple, kind, object, optimised := "", "", slices.Contains(words, "-emit-obj"), words[1] == "-cc1as"
	for i, word := range words[:len(words)-1] {
		switch value := words[i+1]; {
		case word == "-triple":
			triple = value
		case word == "-target-cpu":
			j.CPU = value
		case word == "-o":
			j.Output = value
		case word == "-x":
			kind = value
		case word == "-filetype" && value == "obj":
			object = true
		case len(word) == 3 && strings.HasPrefix(word, "-O"):
			optimised = word != "-O0"
		}
	}
	taken := words[1] == "-cc1as" || slices.Contains([]string{"c", "cpp-output", "ir"}, kind)
	return j, object && optimised && taken && isBPF(triple) && j.Output != "" && j.Output != "-"
}

// splitQuoted splits a line of words in double quotes, in which backslashes
// take the meaning from the character that follows.
func splitQuoted(line string) (words []string) {
	var word strings.Builder
	inside, escaped := false, false
	for _, c := range []byte(line) {
		switch {
		case escaped:
			word.WriteByte(c)
			escaped = false
		case inside && c == '\\':
			escaped = true
		case c == '"':
			if inside {
				words = append(words, word.String())
				word.Reset()
			}
			inside = !inside
		case inside:
			word.WriteByte(c)
		}
	}
	return words
}

// have makes empty files of the names that clang is to find, as far as they are
// within the folder.
func have(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
