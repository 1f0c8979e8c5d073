package toml

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFileSize in bytes bounds what Load reads. Real files have a few lines.
const maxFileSize = 32 << 10

// Load reads the settings in a file over the defaults. The error names file,
// line and key of everything that is wrong, one a line; the settings returned
// with it hold what was right, so that callers can honour strict all the same.
func Load(file string) (*Config, error) {
	source, err := Read(file)
	if err != nil {
		return Default(), err
	}
	config, _, err := Merge([]Source{source})
	return config, err
}

// problem is something wrong in a file.
type problem struct {
	line int // counted from 1
	text string
}

// parse applies what the text says to c and returns what is wrong with it in
// the order of its lines, and which keys it sets.
func (c *Config) parse(text []byte, known schema) (problems []problem, set []string) {
	if len(text) > maxFileSize {
		return []problem{{1, fmt.Sprintf("file is larger than %d bytes", maxFileSize)}}, nil
	}
	root := map[string]any{}
	meta, err := toml.NewDecoder(bytes.NewReader(text)).Decode(&root)
	if err != nil {
		return []problem{syntaxProblem(err)}, nil
	}
	r := reader{text: text, keys: meta.Keys()}
	for key, apply := range r.table(location{}, root, known) {
		apply(c)
		set = append(set, key)
	}
	c.overrides = append(c.overrides, r.overrides(root["override"])...)
	c.resolve()
	slices.SortStableFunc(r.problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), strings.Compare(a.text, b.text))
	})
	return r.problems, set
}

func syntaxProblem(err error) problem {
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		return problem{max(syntax.Position.Line, 1), syntax.Message}
	}
	return problem{1, err.Error()}
}

// location names a key: its path, and which [[override]] it stands in,
// counted from 1 with 0 for none.
type location struct {
	path     toml.Key
	override int
}

func (l location) key(name string) location {
	return location{append(slices.Clone(l.path), name), l.override}
}

// reader turns decoded TOML into changes and problems.
type reader struct {
	text     []byte
	keys     []toml.Key // all keys of the text, in its order
	lines    []int      // of each key; filled when first asked for
	problems []problem
}

func (r *reader) report(at location, format string, args ...any) {
	r.problems = append(r.problems, problem{r.line(at), fmt.Sprintf(format, args...)})
}

// table reads the keys of one table. Keys without a meaning are problems.
func (r *reader) table(at location, values map[string]any, known schema) map[string]change {
	changes := map[string]change{}
	for name, value := range values {
		here := at.key(name)
		entry, ok := known[name]
		switch {
		case !ok:
			r.report(here, "unknown key %q%s", here.path, suggestion(name, known))
		case entry.table != nil:
			inner, isTable := value.(map[string]any)
			if !isTable {
				r.report(here, "%s: want a table, got %s", here.path, describe(value))
				continue
			}
			maps.Copy(changes, r.table(here, inner, entry.table))
		case entry.parse != nil:
			apply, err := entry.parse(value)
			if err != nil {
				r.report(here, "%s: %v", here.path, err)
				continue
			}
			changes[here.path.String()] = apply
		}
	}
	return changes
}

// overrides reads the [[override]] tables.
func (r *reader) overrides(value any) []override {
	if value == nil {
		return nil
	}
	tables, ok := asTables(value)
	if !ok {
		r.report(location{path: toml.Key{"override"}}, "override: want [[override]] tables, got %s", describe(value))
		return nil
	}
	var result []override
	for i, table := range tables {
		at := location{toml.Key{"override"}, i + 1}
		o := override{changes: r.table(at, table, inOverride)}
		o.program = r.glob(at.key("program"), table["program"])
		o.section = r.glob(at.key("section"), table["section"])
		if table["program"] == nil && table["section"] == nil {
			r.report(at, "override: names neither program nor section")
		}
		result = append(result, o)
	}
	return result
}

// asTables accepts both [[headers]] and a list of inline tables.
func asTables(value any) (tables []map[string]any, ok bool) {
	if tables, ok := value.([]map[string]any); ok {
		return tables, true
	}
	list, ok := value.([]any)
	for _, item := range list {
		table, isTable := item.(map[string]any)
		if !isTable {
			return nil, false
		}
		tables = append(tables, table)
	}
	return tables, ok
}

// glob reads the pattern of an override; nil stands for a missing key.
func (r *reader) glob(at location, value any) string {
	if value == nil {
		return ""
	}
	glob, err := parseGlob(value)
	if err != nil {
		r.report(at, "%s: %v", at.path, err)
	}
	return glob
}

// line finds the line of a key, or of the innermost table around it that the
// text names.
func (r *reader) line(at location) int {
	if r.lines == nil {
		r.lines = keyLines(r.text)
	}
	for path := at.path; len(path) > 0; path = path[:len(path)-1] {
		if i := r.index(location{path, at.override}); i >= 0 && i < len(r.lines) {
			return r.lines[i]
		}
	}
	if at.override != 0 { // a list of inline tables has but one such key
		return r.line(location{path: at.path})
	}
	return 1
}

// index finds a key among the keys of the text, -1 if it isn't there.
func (r *reader) index(at location) int {
	seen := 0
	for i, key := range r.keys {
		if len(key) == 1 && key[0] == "override" {
			seen++
		}
		if slices.Equal(key, at.path) && (at.override == 0 || seen == at.override) {
			return i
		}
	}
	return -1
}

// keyLines finds the line of each key of a text that parses. The TOML library
// keeps positions to itself but tells which keys a text has: a key stands
// right behind the longest run of whole lines that parses without it.
func keyLines(text []byte) []int {
	var lines []int
	before, end := 0, 0 // whole lines that parse; bytes looked at
	for n, line := range bytes.SplitAfter(text, []byte("\n")) {
		end += len(line)
		meta, err := toml.Decode(string(text[:end]), &map[string]any{})
		if err != nil { // inside a value of several lines
			continue
		}
		for range len(meta.Keys()) - len(lines) {
			lines = append(lines, before+1)
		}
		before = n + 1
	}
	return lines
}
