// Package filetest writes and reads the files of tests, which fail where that
// fails.
package filetest

import (
	"os"
	"testing"
)

// Put writes a text into a file.
func Put(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Get returns a file's text.
func Get(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
