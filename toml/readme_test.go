package toml

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestReadme holds the README's example to what Load accepts.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "```toml\n")
	example, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("README.md has no TOML example")
	}
	if _, err := Load(write(t, example)); err != nil {
		t.Error(err)
	}
	for key := range leaves(ofUser) {
		if !strings.Contains(string(readme), "| `"+key+"` |") {
			t.Errorf("README.md does not explain %s", key)
		}
	}
}

// The README's table of limits is the one that holds.
func TestReadmeLimits(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := func(l Limit) string {
		if !l.Set {
			return "none"
		}
		return fmt.Sprint(l.Percent)
	}
	for _, goal := range []Goal{GoalBalanced, GoalSize, GoalLatency, GoalVerifier} {
		l := defaultLimits(goal)
		row := fmt.Sprintf("| `%q` | %s | %s | %s | %s |", string(goal), text(l.Slots), text(l.Code), text(l.Time), text(l.Verifier))
		if !strings.Contains(string(readme), row) {
			t.Errorf("README.md has no row %s", row)
		}
	}
}
