// Package builds has tests that use k2cc as builds do: build systems, code
// generators, linkers and compiler caches run the program k2cc, and what they
// make is compared with what they make of clang.
package builds
