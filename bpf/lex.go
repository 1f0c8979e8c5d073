package bpf

import (
	"fmt"
	"strings"
)

// operators are the tokens of more than one character that are no words, the
// longest first.
var operators = []string{
	"s>>=", "s>=", "s<=", "s/=", "s%=", "s>", "s<",
	"<<=", ">>=", "+=", "-=", "*=", "/=", "%=", "|=", "&=", "^=", "==", "!=", ">=", "<=",
}

// lex cuts a line of text into words, numbers and operators.
func lex(line string) ([]string, error) {
	var tokens []string
	for {
		line = strings.TrimLeft(line, " \t\r")
		if line == "" {
			return tokens, nil
		}
		n := tokenLength(line)
		if n == 0 {
			return nil, fmt.Errorf("unexpected %q", line[:1])
		}
		tokens = append(tokens, line[:n])
		line = line[n:]
	}
}

// tokenLength is the length of the first token of a line that does not begin
// with a blank, zero if there is none.
func tokenLength(line string) int {
	for _, op := range operators {
		if strings.HasPrefix(line, op) {
			return len(op)
		}
	}
	n := 0
	for n < len(line) && isWord(line[n]) {
		n++
	}
	if n > 0 {
		return n
	}
	if strings.IndexByte("=+-*/%|&^<>()[],:@", line[0]) >= 0 {
		return 1
	}
	return 0
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.'
}

// uncomment removes what stands behind ;, # or //.
func uncomment(line string) string {
	for _, mark := range []string{";", "#", "//"} {
		line, _, _ = strings.Cut(line, mark)
	}
	return line
}

// tokens is a line that is being read. The first mistake is kept in err, and
// from then on nothing is read any more.
type tokens struct {
	left []string
	err  error
}

func (t *tokens) fail(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf(format, args...)
	}
	t.left = nil
}

// peek is the token i places ahead, empty at the end of the line.
func (t *tokens) peek(i int) string {
	if i >= len(t.left) {
		return ""
	}
	return t.left[i]
}

func (t *tokens) next() string {
	s := t.peek(0)
	if s != "" {
		t.left = t.left[1:]
	}
	return s
}

// accept reads the given tokens if all of them are next.
func (t *tokens) accept(want ...string) bool {
	for i, w := range want {
		if t.peek(i) != w {
			return false
		}
	}
	t.left = t.left[len(want):]
	return true
}

func (t *tokens) expect(want ...string) {
	for _, w := range want {
		if got := t.next(); got != w {
			t.fail("%s where %q should be", found(got), w)
			return
		}
	}
}

// found names a token in a message.
func found(token string) string {
	if token == "" {
		return "end of line"
	}
	return fmt.Sprintf("%q", token)
}
