package driver

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/object"
)

// choose takes the alternative as the object to work on if it is smaller and the
// kernel accepts all of it that it accepts of the input, within the limits. The
// input stays what everything is compared with.
func (o *rewriter) choose(ctx context.Context) error {
	c := &o.opts.Alternative
	if c.Object == nil {
		return nil
	}
	file, why, err := o.weigh(ctx, c.Object)
	if err != nil || why != "" {
		c.Left = why
		return err
	}
	o.inputSlots = map[string]int{}
	for _, fn := range o.file.Program().Functions {
		o.inputSlots[fn.Name] = fn.Slots()
	}
	o.file = file
	return nil
}

// weigh reads the alternative, or says why the input is to be kept.
func (o *rewriter) weigh(ctx context.Context, alternative []byte) (file *object.File, why string, err error) {
	if bytes.Equal(alternative, o.in) {
		return nil, "made no difference", nil
	}
	if file, err = object.Read(alternative); err != nil {
		return nil, fmt.Sprintf("not understood: %v", err), nil
	}
	before, after := o.file.Program(), file.Program()
	switch {
	case after.BigEndian != before.BigEndian || after.Level > max(before.Level, bpf.Level(o.opts.Level)):
		return nil, "not for the same target", nil
	case !slices.EqualFunc(before.Functions, after.Functions, sameFunction):
		return nil, "has other functions", nil
	case slots(after) >= slots(before):
		return nil, fmt.Sprintf("no smaller (%d slots, %d without)", slots(after), slots(before)), nil
	}
	why, err = o.objection(ctx, alternative)
	return file, why, err
}

func sameFunction(a, b *bpf.Function) bool { return a.Name == b.Name && a.Section == b.Section }

func slots(p *bpf.Program) (n int) {
	for _, fn := range p.Functions {
		n += fn.Slots()
	}
	return n
}

// objection is what the kernel has against the alternative, empty if nothing.
// Without the kernel's word it is not used.
func (o *rewriter) objection(ctx context.Context, alternative []byte) (string, error) {
	if o.unasked != "" {
		return o.unasked, nil
	}
	for _, fn := range o.file.Program().Functions {
		if !o.confirmed(fn) {
			return fmt.Sprintf("the kernel does not accept %s as clang made it", fn.Name), nil
		}
	}
	bad, _, err := o.anyBad(ctx, alternative)
	if err != nil || len(bad) == 0 {
		return "", err
	}
	if bad[0].Reason != "" {
		return fmt.Sprintf("%s is rejected by the verifier: %s", bad[0].Name, bad[0].Reason), nil
	}
	return bad[0].Name + " costs more than it may in the kernel", nil
}
