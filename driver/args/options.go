package args

import (
	"iter"
	"strings"
)

// isInput is the effect of a word that is no option.
const isInput effect = -1

// use is an option as it stands in a command line, or an input.
type use struct {
	option
	value string
	at, n int // its words: the first, and how many
}

// options walks over the options and inputs of a command line.
func options(words []string) iter.Seq[use] {
	return func(yield func(use) bool) {
		onlyInputs := false
		for i := 0; i < len(words); {
			u := use{option: option{does: isInput}, value: words[i], at: i, n: 1}
			if !onlyInputs && len(words[i]) > 1 && words[i][0] == '-' {
				u = optionAt(words, i)
			}
			onlyInputs = onlyInputs || u.does == ends
			if !yield(u) {
				return
			}
			i += u.n
		}
	}
}

// optionAt reads the option at an index. One that the table does not have takes
// no argument, or has it in the same word.
func optionAt(words []string, i int) use {
	o, _ := find(words[i])
	n := min(1+o.follow(words[i]), len(words)-i)
	u := use{option: o, at: i, n: n, value: strings.TrimPrefix(words[i], o.name)}
	if n > 1 {
		u.value = words[i+n-1]
	}
	return u
}

// Cut takes the options with a prefix out of a command line. They are one word
// each, and no arguments of other options.
func Cut(words []string, prefix string) (cut, rest []string) {
	for u := range options(words) {
		if u.does != isInput && strings.HasPrefix(words[u.at], prefix) {
			cut = append(cut, words[u.at])
			continue
		}
		rest = append(rest, words[u.at:u.at+u.n]...)
	}
	return cut, rest
}
