package toml

import (
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
