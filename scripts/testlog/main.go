// Testlog condenses `go test -json` to what a reader of a log wants: package
// lines, the output of what failed, and which tests were skipped and why. It
// reads standard input and writes standard output.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// event is one line of `go test -json`, see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// key names a test, or with an empty test the package itself.
type key struct{ pkg, test string }

func main() {
	if err := condense(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
}

// condense copies r to w without the output of tests that passed.
func condense(r io.Reader, w io.Writer) error {
	out := bufio.NewWriter(w)
	defer out.Flush()
	pending := map[key][]string{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			// Whatever the go command itself has to say.
			fmt.Fprintln(out, lines.Text())
			continue
		}
		handle(out, pending, e)
		if e.Test == "" {
			out.Flush()
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read test output: %w", err)
	}
	return nil
}

// handle keeps a test's output until its verdict says whether to show it.
func handle(w io.Writer, pending map[key][]string, e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(w, e.Output)
	case "output":
		if e.Test == "" && e.Output == "PASS\n" {
			return
		}
		pending[k] = append(pending[k], e.Output)
	case "pass", "bench":
		if e.Test == "" {
			fmt.Fprint(w, strings.Join(pending[k], ""))
		}
		delete(pending, k)
	case "fail":
		if e.Test == "" {
			showUnfinished(w, pending, e.Package)
		}
		fmt.Fprint(w, strings.Join(pending[k], ""))
		delete(pending, k)
	case "skip":
		if e.Test == "" { // a package without tests
			fmt.Fprint(w, strings.Join(pending[k], ""))
		} else {
			fmt.Fprintf(w, "SKIP\t%s\t%s: %s\n", e.Package, e.Test, reason(pending[k]))
		}
		delete(pending, k)
	}
}

// showUnfinished prints what a package's tests said that never came to a
// verdict: after a panic or a time-out, the culprit is among them.
func showUnfinished(w io.Writer, pending map[key][]string, pkg string) {
	for _, k := range slices.SortedFunc(maps.Keys(pending), func(a, b key) int {
		return strings.Compare(a.test, b.test)
	}) {
		if k.pkg == pkg && k.test != "" {
			fmt.Fprint(w, strings.Join(pending[k], ""))
			delete(pending, k)
		}
	}
}

// reason extracts a skipped test's own words from its output.
func reason(output []string) string {
	var words []string
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			words = append(words, line)
		}
	}
	return strings.Join(words, " ")
}
