package toml

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xrash/smetrics"
)

// schema lists the keys of a table.
type schema map[string]entry

// entry is a key: one with a value or one with a table of keys. The reader
// itself takes care of a key that has neither.
type entry struct {
	parse func(value any) (change, error)
	get   func(*Config) any // the value: string, bool, int64 or []string
	table schema
	// own tells that the user alone may set it: it names programs to run, and
	// files may come with other people's sources.
	own bool
}

var (
	// inBoth holds what is set for a file or for single programs.
	inBoth = schema{
		"goal": {parse: oneOf(func(c *Config, g Goal) { c.Goal = g },
			GoalBalanced, GoalSize, GoalLatency, GoalVerifier),
			get: func(c *Config) any { return string(c.Goal) }},
		"effort": {parse: oneOf(func(c *Config, e Effort) { c.Effort = e },
			EffortFast, EffortNormal, EffortHigh),
			get: func(c *Config) any { return string(c.Effort) }},
		"isa": {parse: parseISA, get: func(c *Config) any { return c.ISA.String() }},
		"passes": {parse: text(func(c *Config, s string) { c.Passes = s }),
			get: func(c *Config) any { return c.Passes }},
		"window": {table: schema{"size": {parse: parseWindowSize,
			get: func(c *Config) any { return int64(c.Window.Size) }}}},
		"budget": {table: schema{"window": budgetWindow}},
		"limit": {table: schema{
			"slots":    limit(func(l *Limits) *Limit { return &l.Slots }),
			"code":     limit(func(l *Limits) *Limit { return &l.Code }),
			"time":     limit(func(l *Limits) *Limit { return &l.Time }),
			"verifier": limit(func(l *Limits) *Limit { return &l.Verifier }),
		}},
	}

	topLevel = merge(inBoth, schema{
		"clang": {parse: text(func(c *Config, s string) { c.Clang = s }),
			get: func(c *Config) any { return c.Clang }, own: true},
		"strict": {parse: boolean(func(c *Config, b bool) { c.Strict = b }),
			get: func(c *Config) any { return c.Strict }},
		"kernel": {parse: oneOf(func(c *Config, k KernelCheck) { c.Kernel = k },
			KernelOn, KernelOff, KernelRequire),
			get: func(c *Config) any { return string(c.Kernel) }},
		"budget": {table: schema{
			"window": budgetWindow,
			"object": {parse: duration(func(c *Config, d time.Duration) { c.Budget.Object = d }),
				get: func(c *Config) any { return c.Budget.Object.String() }},
		}},
		"memory": {table: schema{"shared": {
			parse: listOf(func(c *Config, r []Region) { c.Memory.Shared = r }, "regions",
				RegionMap, RegionPacket, RegionOther),
			get: func(c *Config) any { return names(c.Memory.Shared) }}}},
		"llvm": {table: schema{"passes": {
			parse: listOf(func(c *Config, p []IRPass) { c.LLVM.Passes = p }, "passes",
				IRAtomic, IRMerge, IRWiden),
			get: func(c *Config) any { return names(c.LLVM.Passes) }}}},
		"override": {},
	})

	// ofUser is the schema of the user's own file.
	ofUser = merge(topLevel, schema{
		"trust": {parse: parseTrust, get: func(c *Config) any { return c.Trust }, own: true},
	})

	inOverride = merge(inBoth, schema{
		"program": {},
		"section": {},
		"skip": {parse: boolean(func(c *Config, b bool) { c.Skip = b }),
			get: func(c *Config) any { return c.Skip }},
	})

	budgetWindow = entry{parse: duration(func(c *Config, d time.Duration) { c.Budget.Window = d }),
		get: func(c *Config) any { return c.Budget.Window.String() }}
)

// names are values as strings.
func names[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// merge joins two schemas; where both have a key, the second one's holds.
func merge(a, b schema) schema {
	joined := maps.Clone(a)
	maps.Copy(joined, b)
	return joined
}

// as returns the value as a type, or an error that says what is wanted and
// what stands there instead.
func as[T any](value any, want string) (T, error) {
	typed, ok := value.(T)
	if !ok {
		return typed, fmt.Errorf("want %s, got %s", want, describe(value))
	}
	return typed, nil
}

func text(set func(*Config, string)) func(any) (change, error) {
	return func(value any) (change, error) {
		s, err := as[string](value, "a string")
		return func(c *Config) { set(c, s) }, err
	}
}

func boolean(set func(*Config, bool)) func(any) (change, error) {
	return func(value any) (change, error) {
		b, err := as[bool](value, "true or false")
		return func(c *Config) { set(c, b) }, err
	}
}

// maxDuration is far beyond patience, and far below where sums of times overflow.
const maxDuration = 1000 * time.Hour

func duration(set func(*Config, time.Duration)) func(any) (change, error) {
	return func(value any) (change, error) {
		s, err := as[string](value, `a duration like "2s"`)
		if err != nil {
			return nil, err
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return nil, fmt.Errorf(`want a duration like "2s", got %q`, s)
		}
		if d <= 0 {
			return nil, fmt.Errorf("want more than no time, got %q", s)
		}
		if d > maxDuration {
			return nil, fmt.Errorf("want at most %.0fh, got %q", maxDuration.Hours(), s)
		}
		return func(c *Config) { set(c, d) }, nil
	}
}

func oneOf[T ~string](set func(*Config, T), allowed ...T) func(any) (change, error) {
	return func(value any) (change, error) {
		s, err := choice(value, allowed)
		return func(c *Config) { set(c, s) }, err
	}
}

// choice reads a string that has to be one of a few.
func choice[T ~string](value any, allowed []T) (T, error) {
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = fmt.Sprintf("%q", string(a))
	}
	want := strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	s, err := as[string](value, want)
	if err == nil && !slices.Contains(allowed, T(s)) {
		err = fmt.Errorf("want %s, got %q", want, s)
	}
	return T(s), err
}

func parseISA(value any) (change, error) {
	levels := []string{"auto", "v1", "v2", "v3", "v4"} // in the order of ISA's values
	name, err := choice(value, levels)
	return func(c *Config) { c.ISA = ISA(slices.Index(levels, name)) }, err
}

// maxWindowSize in instructions keeps a window's proof within reach.
const maxWindowSize = 1024

func parseWindowSize(value any) (change, error) {
	size, err := as[int64](value, "a number of instructions")
	if err == nil && (size < 1 || size > maxWindowSize) {
		err = fmt.Errorf("want 1 to %d instructions, got %d", maxWindowSize, size)
	}
	return func(c *Config) { c.Window.Size = int(size) }, err
}

// maxLimit in percent is more than any limit that means something.
const maxLimit = 1000

// limit is an entry for one of the limits.
func limit(of func(*Limits) *Limit) entry {
	return entry{parse: func(value any) (change, error) {
		s, err := as[string](value, `a percentage like "5%" or "none"`)
		if err != nil {
			return nil, err
		}
		var l Limit
		if s != "none" {
			number, ok := strings.CutSuffix(s, "%")
			percent, err := strconv.ParseFloat(number, 64)
			if !ok || err != nil || !(percent >= 0 && percent <= maxLimit) {
				return nil, fmt.Errorf(`want "none" or "0%%" to "%d%%", got %q`, maxLimit, s)
			}
			l = atMost(percent)
		}
		set := func(c *Config) { *of(&c.Limits) = l }
		return func(c *Config) { c.limits = append(c.limits, set) }, nil
	}, get: func(c *Config) any { return of(&c.Limits).String() }}
}

// listOf reads a list of strings that are all allowed and different.
func listOf[T ~string](set func(*Config, []T), what string, allowed ...T) func(any) (change, error) {
	return func(value any) (change, error) {
		list, err := as[[]any](value, "a list of "+what)
		if err != nil {
			return nil, err
		}
		items := []T{}
		for _, item := range list {
			one, err := choice(item, allowed)
			if err != nil {
				return nil, err
			}
			if slices.Contains(items, one) {
				return nil, fmt.Errorf("%q is listed twice", one)
			}
			items = append(items, one)
		}
		return func(c *Config) { set(c, items) }, nil
	}
}

func parseTrust(value any) (change, error) {
	list, err := as[[]any](value, "a list of folders")
	if err != nil {
		return nil, err
	}
	var folders []string
	for _, item := range list {
		folder, err := as[string](item, "a folder")
		if err == nil && !filepath.IsAbs(folder) && !strings.HasPrefix(folder, "~/") {
			err = fmt.Errorf("want an absolute path, got %q", folder)
		}
		if err != nil {
			return nil, err
		}
		folders = append(folders, folder)
	}
	return func(c *Config) { c.Trust = folders }, nil
}

func parseGlob(value any) (string, error) {
	glob, err := as[string](value, "a pattern")
	if err != nil {
		return "", err
	}
	if glob == "" {
		return "", errors.New("the pattern is empty")
	}
	if _, err := path.Match(hideSlashes(glob), ""); err != nil {
		return "", fmt.Errorf("%q is no valid pattern", glob)
	}
	return glob, nil
}

// describe says what kind of value stands in the file, in TOML's words.
func describe(value any) string {
	switch value := value.(type) {
	case string:
		return fmt.Sprintf("the string %q", value)
	case bool:
		return fmt.Sprintf("%t", value)
	case int64:
		return fmt.Sprintf("the number %d", value)
	case float64:
		return fmt.Sprintf("the number %v", value)
	case time.Time:
		return "a date"
	case []any, []map[string]any:
		return "a list"
	default:
		return "a table"
	}
}

// suggestion proposes the known key that a misspelt one was probably meant
// to be, as an addition to an error.
func suggestion(name string, known schema) string {
	const maxName = 32 // bytes; nobody misspells a key into more
	if len(name) > maxName {
		return ""
	}
	best, distance := "", min(2, len(name)/2)+1
	for _, candidate := range slices.Sorted(maps.Keys(known)) {
		if d := smetrics.WagnerFischer(name, candidate, 1, 1, 1); d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}
