package passes

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/cache"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/windows"
)

// question is a window in its canonical form, if it has one. All that is found
// for a window is found for that form, whether it was found before or not: so no
// object depends on what the cache holds.
type question struct {
	w     *windows.Window
	names *windows.Names // nil where the window is as it stands in its function
	key   []byte
}

func newQuestion(w *windows.Window) question {
	canonical, names, ok := w.Canonical()
	if !ok {
		return question{w: w}
	}
	return question{canonical, names, canonical.Key()}
}

// original is code for the window as it stands in its function.
func (q question) original(code []bpf.Instruction) []bpf.Instruction {
	if code == nil || q.names == nil {
		return code
	}
	return q.names.Original(code)
}

// answer is what a proposer came to: nil code where that is nothing better.
type answer struct {
	key   cache.Key // of what was asked
	code  []bpf.Instruction
	stats Stats
}

// answer is what a proposer makes of a window that code stands in, as it was
// found earlier or is found now. It reports false where time is up.
func (m *Manager) answer(ctx context.Context, p Proposer, q question, code []bpf.Instruction) (answer, bool) {
	name := p.Name()
	if s, ok := p.(Searcher); ok {
		name += " " + s.Settings()
	}
	name = fmt.Sprint(name, " ", m.Resources)
	key := cache.KeyOf("proposal", q.key, []byte(name), windows.EncodeCode(code))
	if q.names != nil {
		if text, ok := m.Cache.Get(key); ok {
			if a, ok := decodeAnswer(text); ok {
				a.key = key
				return a, true
			}
		}
	}
	if ctx.Err() != nil {
		return answer{}, false
	}
	a := m.ask(ctx, p, q.w, code)
	a.key = key
	if q.names != nil && ctx.Err() == nil {
		m.Cache.Put(key, a.encode())
	}
	return a, true
}

// numbers is all of the statistics, in a fixed order.
func (s *Stats) numbers() []*int {
	return []*int{&s.Tried, &s.Proven, &s.Refuted, &s.Unsafe, &s.Undecided, &s.Slots, &s.Work}
}

func (a answer) encode() []byte {
	var out []byte
	for _, n := range a.stats.numbers() {
		out = binary.AppendVarint(out, int64(*n))
	}
	if a.code == nil {
		return out
	}
	return append(out, windows.EncodeCode(a.code)...)
}

func decodeAnswer(text []byte) (a answer, ok bool) {
	for _, n := range a.stats.numbers() {
		v, size := binary.Varint(text)
		if size <= 0 {
			return answer{}, false
		}
		*n, text = int(v), text[size:]
	}
	if len(text) == 0 {
		return a, true
	}
	a.code, ok = windows.DecodeCode(text)
	return a, ok
}

// proves tells whether code is proven for a window, as was found earlier or is
// found now.
func (m *Manager) proves(ctx context.Context, w *windows.Window, code []bpf.Instruction) bool {
	prove := func(w *windows.Window, code []bpf.Instruction) bool {
		return encode.New(encode.Options{Pool: m.Pool}).Check(ctx, w, code).Outcome == encode.Proven
	}
	q := newQuestion(w)
	if q.names == nil {
		return prove(w, code)
	}
	code, ok := q.names.Canonical(code)
	if !ok {
		return false // not what was proposed for this window
	}
	key := cache.KeyOf("proof", q.key, windows.EncodeCode(code))
	if text, ok := m.Cache.Get(key); ok && len(text) == 1 {
		return text[0] == 1
	}
	proven := prove(q.w, code)
	if ctx.Err() == nil {
		text := []byte{0}
		if proven {
			text[0] = 1
		}
		m.Cache.Put(key, text)
	}
	return proven
}
