//go:build amd64 || arm64

// Package libz3 loads Z3's library when it is first needed. go-z3 alone has the
// dynamic linker load it before main runs, so that no program can say, or do
// without, what is missing where it is not installed. Programs that link this
// package get Z3's functions from it, as jumps to where Load found them.
package libz3

/*
#cgo LDFLAGS: -Wl,--as-needed -ldl
#include <stdlib.h>
char *libz3_load(const char *file);
*/
import "C"

import (
	"errors"
	"sync"
	"unsafe"
)

// files are what Z3's library is called, the name that is sure to fit first.
var files = []string{"libz3.so.4", "libz3.so"}

// Load finds Z3's library where the dynamic linker looks for libraries. Before
// it has succeeded, a call of Z3 ends the process.
var Load = sync.OnceValue(func() error {
	var first error
	for _, file := range files {
		err := load(file)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
})

func load(file string) error {
	name := C.CString(file)
	defer C.free(unsafe.Pointer(name))
	message := C.libz3_load(name)
	if message == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(message))
	return errors.New(C.GoString(message))
}
