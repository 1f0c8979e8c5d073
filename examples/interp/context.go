package interp

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/k2cc/k2cc/examples"
)

// Sizes and fields of contexts (include/uapi/linux/bpf.h).
const (
	xdpSize      = 24
	xdpData      = 0
	xdpDataEnd   = 4
	xdpDataMeta  = 8
	xdpIngress   = 12
	skbSize      = 192
	skbLen       = 0
	skbPktType   = 4
	skbMark      = 8
	skbProtocol  = 16
	skbPriority  = 32
	skbIngress   = 36
	skbIfindex   = 40
	skbCB        = 48
	skbCBEnd     = 68
	skbData      = 76
	skbDataEnd   = 80
	skbDataMeta  = 140
	skbWireLen   = 160
	sockAddrSize = 72
	perfSize     = 184
	tracingSize  = 192 // room for any of the others
)

const ethLen = 14

// What a packet's surroundings are in BPF_PROG_TEST_RUN (net/bpf/test_run.c).
const (
	loopback = 1        // the interface
	headroom = 256 - 40 // XDP_PACKET_HEADROOM without struct xdp_frame
)

// newRun sets up the context and the packet.
func (r *Runner) newRun(p examples.Program, in examples.Input) (*run, error) {
	x := &run{Runner: r, program: p, in: in, reserved: map[uint64]*reservation{}}
	switch p.Type {
	case ebpf.XDP:
		x.xdp()
	case ebpf.SchedCLS:
		x.skb(in.Data)
	case ebpf.SocketFilter:
		if len(in.Data) < ethLen {
			return nil, fmt.Errorf("a frame of %d bytes", len(in.Data))
		}
		x.skb(in.Data[ethLen:])
	case ebpf.CGroupSockAddr:
		x.contextOf(in.Context, sockAddrSize)
	case ebpf.PerfEvent:
		x.contextOf(in.Context, perfSize)
		x.context.readOnly = true
	case ebpf.RawTracepoint, ebpf.TracePoint, ebpf.Kprobe:
		x.contextOf(x.resolve(in.Context), tracingSize)
		x.context.readOnly = true
	default:
		return nil, fmt.Errorf("contexts of %v programs are not modelled", p.Type)
	}
	return x, nil
}

// contextOf puts a context in memory for the run.
func (x *run) contextOf(b []byte, size int) {
	full := make([]byte, size)
	copy(full, b)
	x.context = x.memory.holding("context", full)
	x.memory.release(x.context)
}

// resolve puts addresses where the context has words that stand for them.
func (x *run) resolve(context []byte) []byte {
	b := bytes.Clone(context)
	known := map[uint64]uint64{
		examples.CurrentTask:      x.currentTask(),
		examples.IdleKernelThread: idleTask,
		examples.UserPath:         userPath,
	}
	for i := 0; i+8 <= len(b); i += 8 {
		if addr, ok := known[binary.NativeEndian.Uint64(b[i:])]; ok {
			binary.NativeEndian.PutUint64(b[i:], addr)
		}
	}
	return b
}

func (x *run) xdp() {
	x.contextOf(nil, xdpSize)
	x.context.readOnly = true
	x.packet = x.memory.place(x.in.Data)
	x.headroom = headroom
	x.setContext(xdpIngress, loopback)
	x.point(xdpData, xdpDataEnd, xdpDataMeta)
}

// point puts the packet's bounds into the context.
func (x *run) point(data, end, meta int) {
	x.setContext(data, uint32(x.packet.start))
	x.setContext(end, uint32(x.packet.start)+uint32(x.packet.size))
	x.setContext(meta, uint32(x.packet.start))
}

func (x *run) setContext(off int, v uint32) {
	x.memory.state.Write(x.context.start+uint64(off), 4, uint64(v))
}

// skb makes a struct __sk_buff as the kernel makes it of one that user space
// gives (bpf_prog_test_run_skb, eth_type_trans).
func (x *run) skb(data []byte) {
	x.contextOf(x.in.Context, skbSize)
	x.packet = x.memory.place(data)
	header := x.in.Data
	protocol := binary.BigEndian.Uint16(header[12:])
	if protocol < 1536 {
		protocol = 4 // ETH_P_802_2
		if len(header) >= ethLen+2 && header[ethLen] == 0xff && header[ethLen+1] == 0xff {
			protocol = 1 // ETH_P_802_3
		}
	}
	x.setContext(skbLen, uint32(len(data)))
	x.setContext(skbPktType, packetType(header))
	x.setContext(skbProtocol, uint32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))))
	x.setContext(skbIfindex, loopback)
	x.setContext(skbWireLen, uint32(len(data)))
	x.point(skbData, skbDataEnd, skbDataMeta)
}

// packetType tells whom a frame is for (include/uapi/linux/if_packet.h). The
// loopback interface's address is all zeros.
func packetType(frame []byte) uint32 {
	const toHost, toAll, toSome, toOther = 0, 1, 2, 3
	switch dst := frame[:6]; {
	case bytes.Equal(dst, bytes.Repeat([]byte{0xff}, 6)):
		return toAll
	case dst[0]&1 != 0:
		return toSome
	case !bytes.Equal(dst, make([]byte, 6)):
		return toOther
	}
	return toHost
}

// output is what the run has left of packet and context, as the kernel gives it
// back for the types that it runs.
func (x *run) output() examples.Output {
	var out examples.Output
	switch x.program.Type {
	case ebpf.XDP:
		out.Data = x.memory.bytes(x.packet)
	case ebpf.SchedCLS:
		out.Data = x.memory.bytes(x.packet)
		out.Context = x.skbOutput()
	case ebpf.SocketFilter:
		out.Data = append(make([]byte, ethLen), x.memory.bytes(x.packet)...)
		out.Context = x.skbOutput()
	case ebpf.CGroupSockAddr:
		out.Context = x.memory.bytes(x.context)
	}
	return out
}

// skbOutput has the fields that the kernel gives back (convert_skb_to___skb).
func (x *run) skbOutput() []byte {
	out := make([]byte, skbSize)
	copy(out, x.in.Context)
	now := x.memory.bytes(x.context)
	for _, field := range [][2]int{
		{skbMark, skbMark + 4}, {skbPriority, skbPriority + 4}, {skbIngress, skbIngress + 4},
		{skbIfindex, skbIfindex + 4}, {skbCB, skbCBEnd}, {skbWireLen, skbWireLen + 4},
	} {
		copy(out[field[0]:field[1]], now[field[0]:field[1]])
	}
	return out
}

// legacy does a legacy packet load, in the packet's big-endian order.
func (x *run) legacy(off uint32, size int) (uint64, bool) {
	if int32(off) < 0 {
		x.failure = fmt.Errorf("legacy packet loads at negative offsets are not modelled")
		return 0, false
	}
	if x.packet == nil || int(off)+size > x.packet.size {
		return 0, false
	}
	var v uint64
	for i := range uint64(size) {
		v = v<<8 | uint64(x.memory.state.Byte(x.packet.start+uint64(off)+i))
	}
	return v, true
}
