package verify

import (
	"context"
	"reflect"
	"testing"

	"github.com/k2cc/k2cc/cache"
)

// Once a kernel has spoken, it is not asked again about the same; it is about
// everything else.
func TestRemembering(t *testing.T) {
	said := []ProgramResult{{Name: "p", State: Accepted, Stats: Stats{Slots: 2, JITed: 10}}}
	c := cache.New()
	l := NewRemembering(c)
	if l.cache == nil {
		t.Skip("this kernel can't be told from others")
	}
	l.remember([]byte("object"), Options{}, said)
	got, err := l.Load(context.Background(), []byte("object"), Options{})
	if err != nil || !reflect.DeepEqual(got, said) {
		t.Errorf("got %v, %v", got, err)
	}
	other := NewRemembering(c)
	other.kernel = append(other.kernel, "rebooted"...)
	for name, f := range map[string]func() ([]ProgramResult, bool){
		"another object": func() ([]ProgramResult, bool) { return l.recall([]byte("another"), Options{}) },
		"thawed":         func() ([]ProgramResult, bool) { return l.recall([]byte("object"), Options{Thaw: true}) },
		"some programs":  func() ([]ProgramResult, bool) { return l.recall([]byte("object"), Options{Programs: []string{"p"}}) },
		"another kernel": func() ([]ProgramResult, bool) { return other.recall([]byte("object"), Options{}) },
	} {
		if got, ok := f(); ok {
			t.Errorf("%s: got %v", name, got)
		}
	}
	said[0].State = Untried
	l.remember([]byte("untried"), Options{}, said)
	if _, ok := l.recall([]byte("untried"), Options{}); ok {
		t.Error("what was never tried is remembered")
	}
}
