package driver

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/k2cc/k2cc/toml"
)

func defaultTask() task {
	return task{name: "x.c", settings: settings{Config: toml.Default()}}
}

// TestIsolated runs the real optimiser in a real worker.
func TestIsolated(t *testing.T) {
	clang := needClang(t)
	t.Setenv(actVariable, "1")
	t.Chdir(folder(t))
	runIn(t, ".", clang, compileArgs...)
	d := newDriver(Streams{strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}})

	leave := defaultTask()
	leave.settings.sources = []toml.Source{{Name: "k2.toml", Text: []byte("[[override]]\nprogram = \"*\"\nskip = true")}}
	in := get(t, "good.o")
	out, rep, err := d.isolated(t.Context(), []byte(in), leave)
	if err != nil || rep == nil || string(out) != in {
		t.Errorf("got %d bytes for %d, %+v, %v", len(out), len(in), rep, err)
	}

	leave.settings.sources[0].Text = []byte("goall = 1")
	if _, _, err := d.isolated(t.Context(), []byte(in), leave); err == nil || !strings.Contains(err.Error(), "goall") {
		t.Errorf("the worker's own reading of k2.toml: got %v", err)
	}
}

func TestWorkerFails(t *testing.T) {
	tests := []struct {
		name, script string
		want         string
	}{
		{"killed by the system", "kill -9 $$", "the optimiser ended early: signal: killed"},
		{"crash in a library", "echo 'fatal error: oops' >&2; echo trace >&2; kill -SEGV $$",
			"the optimiser ended early: signal: segmentation fault (fatal error: oops)"},
		{"error exit", "echo no luck >&2; exit 3", "the optimiser ended early: exit status 3 (no luck)"},
		{"no answer", "cat >/dev/null", "read the optimiser's answer: EOF"},
		{"no answer but noise", "cat >/dev/null; echo hello", "read the optimiser's answer: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			worker := exec.CommandContext(t.Context(), "sh", "-c", test.script)
			out, _, err := runIsolated(t.Context(), worker, []byte("object"), defaultTask(), 1)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) || out != nil {
				t.Errorf("got %q, %v, want %s", out, err, test.want)
			}
		})
	}
}

func TestWorkerOutOfTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	// The child of the shell keeps the pipes open beyond its parent's end.
	worker := exec.CommandContext(ctx, "sh", "-c", "sleep 60; true")
	_, _, err := runIsolated(ctx, worker, []byte("object"), defaultTask(), 1)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 20*time.Second {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
}

// ask has an optimiser answer one request.
func ask(t *testing.T, req request, optimize optimizeFunc) response {
	t.Helper()
	var in, out bytes.Buffer
	if err := gob.NewEncoder(&in).Encode(req); err != nil {
		t.Fatal(err)
	}
	if err := answerRequest(&in, &out, optimize); err != nil {
		t.Fatal(err)
	}
	var resp response
	if err := gob.NewDecoder(&out).Decode(&resp); err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestAnswerRequest(t *testing.T) {
	sources := []toml.Source{{Name: "k2.toml", Text: []byte(`goal = "size"`)}}
	resp := ask(t, request{"x.c", sources, 2, runtime.GOMAXPROCS(0), "", []byte("object"), alternative{}},
		func(_ context.Context, in []byte, opts Options) ([]byte, *Report, error) {
			if opts.Name != "x.c" || opts.Level != 2 || opts.Config.Goal != toml.GoalSize || string(in) != "object" {
				t.Errorf("got %q with %+v", in, opts)
			}
			return []byte("better"), &Report{Functions: []FunctionReport{{Name: "f"}}}, nil
		})
	if string(resp.Object) != "better" || len(resp.Report.Functions) != 1 || resp.Error != "" {
		t.Errorf("got %+v", resp)
	}
}

func TestAnswerRequestOfAFailure(t *testing.T) {
	old := os.Stderr
	defer func() { os.Stderr = old }()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	os.Stderr = null // for the panic's trace

	tests := []struct {
		name     string
		optimize optimizeFunc
		want     string
	}{
		{"error", func(context.Context, []byte, Options) ([]byte, *Report, error) {
			return []byte("half"), &Report{}, errors.New("no luck")
		}, "no luck"},
		{"panic", func(context.Context, []byte, Options) ([]byte, *Report, error) {
			panic("boom")
		}, "panic: boom"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			resp := ask(t, request{Name: "x.c"}, test.optimize)
			if resp.Error != test.want || resp.Object != nil || resp.Report != nil {
				t.Errorf("got %+v, want %s", resp, test.want)
			}
		})
	}
}

func TestWrongRequest(t *testing.T) {
	var out bytes.Buffer
	if err := answerRequest(strings.NewReader("nonsense"), &out, Optimize); err == nil || out.Len() > 0 {
		t.Errorf("got %v, answered %q", err, out.String())
	}
}
