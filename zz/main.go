package main

import (
	"context"
	"fmt"
	"os"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/object"
	"github.com/k2cc/k2cc/encode"
	"github.com/k2cc/k2cc/passes/guards"
	"github.com/k2cc/k2cc/passes/jumps"
	"github.com/k2cc/k2cc/windows"
)

func main() {
	b, _ := os.ReadFile(os.Args[1])
	file, err := object.Read(b)
	if err != nil {
		panic(err)
	}
	for _, fn := range file.Program().Functions {
		if fn.Name != os.Args[2] {
			continue
		}
		t := windows.Target{Level: bpf.V3}
		in := jumps.Simplify(context.Background(), fn, t, true)
		out, err := guards.Simplify(context.Background(), encode.New(encode.Options{}), in, t)
		fmt.Println(fn.Name, fn.Slots(), in.Slots(), out.Slots(), err)
	}
}
