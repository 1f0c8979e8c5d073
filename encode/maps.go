package encode

import (
	"slices"

	"github.com/k2cc/k2cc/bpf"
	"github.com/k2cc/k2cc/bpf/flow"
)

// meaning is what a helper does to the map that is its first argument, with the
// key that is its second.
type meaning uint8

const (
	opaque meaning = iota // anything, to any map
	still                 // nothing, to no map
	lookup                // finds the value
	update                // sees to it that there is a value, where it yields 0
	remove                // takes the value out, where it yields 0
)

// meanings is by helper (enum bpf_func_id in include/uapi/linux/bpf.h). Helpers
// that are not in it are opaque. It is K2's reading of maps, as far as it holds:
// arrays keep their values' places whoever else uses them, and what a hash table
// finds depends on what was put in and taken out, where maps are not shared with
// others (memory.shared). What is in a value is not followed: an update leaves
// locks, timers and kernel pointers in it as they are.
var meanings = map[int32]meaning{
	1: lookup, 2: update, 3: remove,
	5: still, 7: still, 8: still, 14: still, 15: still, 125: still, // clocks, numbers of CPU and process, random numbers
}

// Types of maps with a meaning (enum bpf_map_type). An update of others may take
// out other keys, or they hold something else than values.
const (
	mapHash        = 1 // BPF_MAP_TYPE_HASH
	mapArray       = 2 // BPF_MAP_TYPE_ARRAY
	mapPerCPUArray = 6 // BPF_MAP_TYPE_PERCPU_ARRAY
)

// keyed is a call that has a meaning, on the key that its bytes say.
type keyed struct {
	meaning meaning
	hash    bool // else an array
	table   *node
	key     []*node
}

// keyed reads a call's map and key, which has to be on the own frame, where
// nobody changes it.
func (mc *machine) keyed(c *call) keyed {
	if c.Helper == nil {
		return keyed{}
	}
	out := keyed{meaning: meanings[c.Helper.ID]}
	if out.meaning == still || out.meaning == opaque {
		return out
	}
	at := mc.g.address(c.regs[bpf.R2], 0)
	if c.Map == nil || c.Map.KeySize == 0 || !mc.m.onFrame(at) || c.regs[bpf.R1].kind != flow.KindMap {
		return keyed{}
	}
	switch c.Map.Type {
	case mapHash:
		out.hash = true
	case mapArray, mapPerCPUArray:
	default:
		return keyed{}
	}
	out.table = c.regs[bpf.R1].node
	for i := range c.Map.KeySize {
		out.key = append(out.key, mc.log.byteAt(at.at(i), endOf(len(mc.calls))))
	}
	return out
}

// same tells whether both are for one key of one map, other whether they
// surely are not.
func (k keyed) same(o keyed) bool { return k.table == o.table && slices.Equal(k.key, o.key) }

func (k keyed) other(o keyed) bool {
	if k.table != o.table {
		return true // symbols of two maps
	}
	for i, b := range k.key {
		if b.isConst() && o.key[i].isConst() && b.k != o.key[i].k {
			return true
		}
	}
	return false
}

// recall gives the result of a lookup the meaning that earlier calls give it.
func (mc *machine) recall(c *call) {
	now := c.keyed
	if now.meaning != lookup || now.hash && mc.m.common[flow.KindMapValue] {
		return
	}
	for i := len(mc.calls) - 1; i >= 0; i-- {
		was := &mc.calls[i]
		switch k := was.keyed; {
		case k.meaning == lookup && k.same(now):
			c.result = was.result
			return
		case k.meaning == still, k.meaning == lookup, !now.hash:
			// Values stay in their places; those of arrays always do.
		case k.meaning == opaque, !k.same(now) && !k.other(now):
			return
		case k.same(now):
			mc.behind(c, was)
			return
		}
	}
}

// behind says that a lookup finds something behind an update of its key, and
// nothing where it was deleted.
func (mc *machine) behind(c, was *call) {
	found := c.result.node
	if found.op != opVar {
		return
	}
	g, one := mc.g, mc.g.constant(1, 1)
	holds := g.compare(opEq, found, g.constant(0, 64))
	if was.keyed.meaning == update {
		holds = g.binary(opXor, holds, one)
	}
	failed := g.binary(opXor, g.compare(opEq, was.result.node, g.constant(0, 64)), one)
	found.assume = append(found.assume, g.binary(opOr, failed, holds))
}
