package toml

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Source is one place that settings come from: a file, or pairs of keys and
// values from a command line or the environment.
type Source struct {
	Name  string // the file, or a word for the place
	Text  []byte // what the file holds
	Pairs []Pair // instead of a text
	// User tells that the file is the user's own for all projects, which may
	// also say whom to trust. Found tells that it was found near the sources and
	// is not trusted: what the user alone may say is left out.
	User, Found bool
}

// Pair is a key with its value as text. Name is how the user calls it.
type Pair struct{ Key, Name, Value string }

// Read reads a source from a file. It waits for no pipe, and reads no more than
// tells that a file is too large.
func Read(file string) (Source, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Source{}, fmt.Errorf("read settings: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return Source{}, fmt.Errorf("read settings: %s: %w", file, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return Source{}, fmt.Errorf("read settings: %w", err)
	}
	return Source{Name: file, Text: text}, nil
}

// Merge joins sources over the defaults; later ones hold where both say
// something. Pairs also hold over [[override]] tables. The error names all that
// is wrong, as with Load; warnings say what was left out, one each.
func Merge(sources []Source) (config *Config, warnings []string, err error) {
	config = Default()
	config.from = map[string]string{}
	var errs []error
	for _, s := range sources {
		if s.Pairs != nil {
			errs = append(errs, config.setPairs(s))
			continue
		}
		left, err := config.setFile(s)
		warnings = append(warnings, left...)
		errs = append(errs, err)
	}
	return config, warnings, errors.Join(errs...)
}

// setFile applies a file's settings.
func (c *Config) setFile(s Source) (warnings []string, err error) {
	known, clang, before := topLevel, c.Clang, len(c.overrides)
	if s.User {
		known = ofUser
	}
	problems, set := c.parse(s.Text, known)
	for i := range c.overrides[before:] {
		c.overrides[before+i].from = s.Name
	}
	for _, key := range set {
		switch {
		case s.Found && known[key].own:
			c.Clang = clang
			warnings = append(warnings, fmt.Sprintf("%s: %s is ignored: settings found beside sources may not name programs unless you trust their folder (K2CC_TRUST)", s.Name, key))
			continue
		case key == "clang" && strings.Contains(c.Clang, "/") && !filepath.IsAbs(c.Clang):
			c.Clang = filepath.Join(filepath.Dir(s.Name), c.Clang)
		}
		c.from[key] = s.Name
	}
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = fmt.Errorf("%s:%d: %s", s.Name, p.line, p.text)
	}
	return warnings, errors.Join(errs...)
}

// setPairs applies settings from a command line or the environment.
func (c *Config) setPairs(s Source) error {
	all := override{changes: map[string]change{}}
	var errs []error
	for _, p := range s.Pairs {
		entry, ok := leaves(ofUser)[p.Key]
		if !ok {
			errs = append(errs, fmt.Errorf("%s: there is no setting %q", p.Name, p.Key))
			continue
		}
		value, err := fromText(p.Value, entry.get(Default()))
		var apply change
		if err == nil {
			apply, err = entry.parse(value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Name, err))
			continue
		}
		apply(c)
		all.changes[p.Key] = apply
		c.from[p.Key] = p.Name
	}
	c.overrides = append(c.overrides, all)
	c.resolve()
	return errors.Join(errs...)
}

// fromText reads a text as a value of the same type as the one given. What does
// not read as such stays text, for the schema to complain about.
func fromText(text string, like any) (any, error) {
	switch like.(type) {
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("want true or false, got %q", text)
		}
		return b, nil
	case int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("want a number, got %q", text)
		}
		return n, nil
	case []string:
		list := []any{}
		for item := range strings.SplitSeq(text, ",") {
			if item != "" {
				list = append(list, item)
			}
		}
		return list, nil
	}
	return text, nil
}

// leaves are all keys that have a value, by their dotted paths.
func leaves(s schema) map[string]entry {
	out := map[string]entry{}
	for name, e := range s {
		for inner, leaf := range leaves(e.table) {
			out[name+"."+inner] = leaf
		}
		if e.parse != nil {
			out[name] = e
		}
	}
	return out
}

// Keys are the keys of all settings in order, "trust" excepted.
func Keys() []string { return slices.Sorted(maps.Keys(leaves(topLevel))) }

// IsSwitch tells whether a key is either true or false.
func IsSwitch(key string) bool {
	e, ok := leaves(topLevel)[key]
	if !ok {
		return false
	}
	_, ok = e.get(Default()).(bool)
	return ok
}

// Setting is one setting as it stands.
type Setting struct {
	Key, Value string // the value in TOML's notation
	From       string // the source's name; empty: the default
}

// Settings lists all settings in the order of their keys, and then those of the
// [[override]] tables, of which the last one that matches holds.
func (c *Config) Settings() []Setting {
	var out []Setting
	all := leaves(ofUser)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		out = append(out, Setting{key, notation(all[key].get(c)), c.from[key]})
	}
	tables := 0
	for _, o := range c.overrides {
		if o.from != "" {
			tables++
			out = append(out, o.settings(fmt.Sprintf("override[%d].", tables))...)
		}
	}
	return out
}

// settings lists what a table says.
func (o override) settings(prefix string) (out []Setting) {
	if o.program != "" {
		out = append(out, Setting{prefix + "program", notation(o.program), o.from})
	}
	if o.section != "" {
		out = append(out, Setting{prefix + "section", notation(o.section), o.from})
	}
	applied, all := Default(), leaves(inOverride)
	for _, apply := range o.changes {
		apply(applied)
	}
	applied.resolve()
	for _, key := range slices.Sorted(maps.Keys(o.changes)) {
		name := strings.TrimPrefix(key, "override.")
		out = append(out, Setting{prefix + name, notation(all[name].get(applied)), o.from})
	}
	return out
}

// Value is the value of a key as the environment or a command line would have it.
func (c *Config) Value(key string) (text string, ok bool) {
	e, ok := leaves(ofUser)[key]
	if !ok {
		return "", false
	}
	if list, isList := e.get(c).([]string); isList {
		return strings.Join(list, ","), true
	}
	return fmt.Sprint(e.get(c)), true
}

// notation is a value as TOML writes it.
func notation(value any) string {
	switch value := value.(type) {
	case string:
		return strconv.Quote(value)
	case []string:
		quoted := make([]string, len(value))
		for i, s := range value {
			quoted[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return fmt.Sprint(value)
}

// Trusts tells whether a file stands in a folder that the user trusts, or below
// one. Links count for where they lead.
func (c *Config) Trusts(file string) bool {
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return false
	}
	home, _ := os.UserHomeDir()
	for _, folder := range c.Trust {
		if rest, ok := strings.CutPrefix(folder, "~/"); ok {
			folder = filepath.Join(home, rest)
		}
		folder, err := filepath.EvalSymlinks(folder)
		if err != nil {
			continue
		}
		rel, err := filepath.Rel(folder, real)
		if err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}
