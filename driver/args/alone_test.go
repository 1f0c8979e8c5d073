package args

import (
	"strings"
	"testing"
)

func TestAlone(t *testing.T) {
	job := Job{Input: "a.c", Output: "a.o"}
	tests := []struct{ name, words, want string }{
		{"output", "-O2 --target=bpf -c a.c -o a.o", "-O2 --target=bpf -c -o t.o -- a.c"},
		{"output in one word", "-c a.c -oa.o", "-c -o t.o -- a.c"},
		{"other inputs", "-c a.c b.c", "-c -o t.o -- a.c"},
		{"dependencies", "-c -MD -MP -MF a.d -MTx -MQ y a.c", "-c -o t.o -- a.c"},
		{"dependencies by the preprocessor's options", "-Wp,-MMD,a.d -Wp,-DX=1 -c a.c", "-Wp,-DX=1 -c -o t.o -- a.c"},
		{"compilation database", "-MJ a.json -c a.c", "-c -o t.o -- a.c"},
		{"intermediate files", "-save-temps=obj -c a.c", "-c -o t.o -- a.c"},
		{"diagnostics", "--serialize-diagnostics a.dia -c a.c", "-c -o t.o -- a.c"},
		{"arguments that look like inputs", "-include a.c -I a.c -c a.c", "-include a.c -I a.c -c -o t.o -- a.c"},
		{"language", "-x c -c a.c", "-x c -c -o t.o -- a.c"},
		{"end of options", "-c -- a.c", "-c -o t.o -- a.c"},
		{"split debug information", "-gsplit-dwarf -c a.c", ""},
		{"dependencies by the frontend", "-Xclang -dependency-file -Xclang a.d -c a.c", ""},
		{"the same input twice", "-c a.c a.c", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			argv, ok := Alone(strings.Fields(test.words), job, "t.o")
			if got := strings.Join(argv, " "); ok != (test.want != "") || ok && got != test.want {
				t.Errorf("got %q, %v, want %q", got, ok, test.want)
			}
		})
	}
	if _, ok := Alone([]string{"-c", "-x", "c", "-"}, Job{Input: "-", Output: "a.o"}, "t.o"); ok {
		t.Error("reads standard input again")
	}
}
