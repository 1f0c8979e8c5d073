package main

import (
	"strings"
	"testing"
)

func TestCondense(t *testing.T) {
	tests := []struct {
		name, in, want string
	}{
		{
			"a passing test is silent, its package is not",
			`{"Action":"output","Package":"p","Test":"T","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"T"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}`,
			"ok  \tp\t0.1s\n",
		},
		{
			"a skipped test says why",
			`{"Action":"output","Package":"p","Test":"T","Output":"=== RUN   T\n"}
{"Action":"output","Package":"p","Test":"T","Output":"    t_test.go:3: no BPF\n"}
{"Action":"output","Package":"p","Test":"T","Output":"--- SKIP: T (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"T"}`,
			"SKIP\tp\tT: t_test.go:3: no BPF\n",
		},
		{
			"a failing test shows all it said, apart from its neighbours",
			`{"Action":"output","Package":"p","Test":"A","Output":"a\n"}
{"Action":"output","Package":"p","Test":"B","Output":"b\n"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"fail","Package":"p","Test":"B"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`,
			"b\nFAIL\tp\t0.1s\n",
		},
		{
			"a build error is shown, as is what is no event",
			`{"Action":"build-output","ImportPath":"p","Output":"p.go:1: bad\n"}
go: something else`,
			"p.go:1: bad\ngo: something else\n",
		},
		{
			"output of a test that never ended is shown when its package fails",
			`{"Action":"output","Package":"p","Test":"T","Output":"panic: x\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`,
			"panic: x\nFAIL\tp\t0.1s\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got strings.Builder
			if err := condense(strings.NewReader(test.in), &got); err != nil {
				t.Fatal(err)
			}
			if got.String() != test.want {
				t.Errorf("got %q, want %q", got.String(), test.want)
			}
		})
	}
}
