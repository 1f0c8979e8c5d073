//go:build !amd64 && !arm64

package libz3

// Load does nothing on machines for which there are no jumps: there the dynamic
// linker loads Z3's library before main runs.
func Load() error { return nil }
