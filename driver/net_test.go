package driver

import (
	"strings"
	"testing"
	"time"

	"github.com/k2cc/k2cc/toml"
)

// Passes over whole functions are given up when time is up as search is, and the
// report says so: what was there stays as it was.
func TestNoTimeForWholeFunctions(t *testing.T) {
	object := example(t, "rate_limit")
	config := toml.Default()
	config.Budget.Object, config.Kernel = time.Nanosecond, toml.KernelOff
	_, rep, err := Optimize(t.Context(), object, Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range rep.Functions {
		if f.SlotsAfter != f.SlotsBefore || !f.OutOfTime || !strings.Contains(f.Skipped, "time ran out") {
			t.Errorf("%s: %d to %d slots, out of time: %v, %q", f.Name, f.SlotsBefore, f.SlotsAfter, f.OutOfTime, f.Skipped)
		}
	}
}
