// Command k2cc is a drop-in C compiler for BPF: it runs clang and makes the
// object smaller and faster, with a proof for every change.
package main

import (
	"os"

	"github.com/k2cc/k2cc/driver"
)

func main() {
	os.Exit(driver.Main(os.Args, driver.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
