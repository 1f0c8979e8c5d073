package args

import (
	"bytes"
	"os"
	"slices"
)

// maxResponse in bytes bounds all response files of a call together.
const maxResponse = 16 << 20

// Expand puts the contents of response files (@file) in their places, nested
// ones too, as clang does: quoted as GNU tools quote, names relative to the
// current folder, a file that can't be read left as the word it is. ok is false
// where the files contain each other without end, or too much.
func Expand(words []string) (expanded []string, ok bool) {
	e := &expander{left: maxResponse}
	ok = e.add(words, nil)
	return e.out, ok
}

type expander struct {
	out  []string
	left int // bytes that may still be read
}

// add expands words that stand within the files.
func (e *expander) add(words, within []string) bool {
	for _, word := range words {
		if len(word) < 2 || word[0] != '@' {
			e.out = append(e.out, word)
			continue
		}
		text, err := os.ReadFile(word[1:])
		if err != nil {
			e.out = append(e.out, word)
			continue
		}
		e.left -= len(text)
		if slices.Contains(within, word) || e.left < 0 {
			return false
		}
		if !e.add(splitGNU(text), append(within, word)) {
			return false
		}
	}
	return true
}

// splitGNU splits a response file into words. A backslash takes the meaning from
// the character that follows, within quotes of either kind as well.
func splitGNU(text []byte) (words []string) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark
	var word []byte
	var quote byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			i++
			word = append(word, text[i])
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && isSpace(c):
			words, word = finish(words, word), word[:0]
		default:
			word = append(word, c)
		}
	}
	return finish(words, word)
}

// finish appends a word, unless it is empty: clang has no empty words there.
func finish(words []string, word []byte) []string {
	if len(word) == 0 {
		return words
	}
	return append(words, string(word))
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
