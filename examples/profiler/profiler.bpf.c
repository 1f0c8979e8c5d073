// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
//
// An off-CPU and system call profiler. It charges each task with the time that
// it spends off the CPU, keeps histograms of run queue latency, counts files
// opened and connections made by process and container, and samples what runs.
// The layout of kernel structures is found at load time (CO-RE).

#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define COMM_LEN 16
#define PATH_LEN 64
#define SLOTS 27
#define MAX_TASKS 10240
#define MAX_DEPTH 4
#define STACK_DEPTH 127

#define PF_KTHREAD 0x00200000
#define TASK_INTERRUPTIBLE 0x1
#define TASK_UNINTERRUPTIBLE 0x2

#define core __attribute__((preserve_access_index))

// Of the kernel's structures only the fields that are read here; their offsets
// and sizes come from the running kernel.
struct kuid {
	__u32 val;
} core;

struct cred {
	struct kuid uid;
	struct kuid euid;
} core;

struct ns_common {
	unsigned int inum;
} core;

struct pid_namespace {
	struct ns_common ns;
	unsigned int level;
} core;

struct uts_namespace {
	struct ns_common ns;
} core;

struct nsproxy {
	struct uts_namespace *uts_ns;
	struct pid_namespace *pid_ns_for_children;
} core;

struct mm_struct {
	unsigned long total_vm;
	int map_count;
} core;

struct task_struct {
	unsigned int __state;
	unsigned int flags;
	int prio;
	int static_prio;
	unsigned int policy;
	int exit_code;
	int pid;
	int tgid;
	char comm[COMM_LEN];
	struct mm_struct *mm;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct cred *cred;
	struct nsproxy *nsproxy;
} core;

// task_struct of kernels before 5.14, where __state had another name.
struct task_struct___old {
	long state;
} core;

struct raw_args {
	__u64 args[4];
};

struct sys_enter_args {
	__u64 common;
	long id;
	unsigned long args[6];
};

enum event {
	EVENT_SWITCH,
	EVENT_WAKEUP,
	EVENT_OPEN,
	EVENT_CONNECT,
	EVENT_SAMPLE,
	EVENT_EXIT,
	EVENT_ERROR,
	EVENT_MAX,
};

struct proc_key {
	__u32 tgid;
	__u32 uts_ns;
	char comm[COMM_LEN];
};

struct proc_stats {
	__u64 switches;
	__u64 preempted;
	__u64 blocked;
	__u64 opens;
	__u64 connects;
	__u64 samples;
	__u64 off_cpu_ns;
	__u32 uid;
	__u32 flags;
	__s32 prio;
	__u32 policy;
	__u32 map_count;
	__u32 ancestors[MAX_DEPTH];
	__u32 pad;
};

struct sleeping {
	__u64 since;
	__u32 state;
	__u32 tgid;
};

struct histogram {
	__u64 slots[SLOTS];
};

struct sample_key {
	__u32 pid;
	__s32 kernel_stack;
	__s32 user_stack;
	__u32 pad;
};

struct open_record {
	__u32 tgid;
	__u32 flags;
	char comm[COMM_LEN];
	char path[PATH_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_TASKS);
	__type(key, struct proc_key);
	__type(value, struct proc_stats);
} procs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_TASKS);
	__type(key, __u32);
	__type(value, struct sleeping);
} sleepers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct histogram);
} latencies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_TASKS);
	__type(key, struct sample_key);
	__type(value, __u64);
} samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 4096);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, STACK_DEPTH * sizeof(__u64));
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EVENT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct open_record);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct open_record);
} last_open SEC(".maps");

const volatile __u32 target_tgid = 0; // zero: every process
const volatile __u32 skip_kthreads = 0;
const volatile __u64 min_off_cpu_ns = 1000;

static __always_inline void count(enum event e)
{
	__u32 key = e;
	__u64 *n = bpf_map_lookup_elem(&events, &key);

	if (n)
		*n += 1;
}

static __always_inline __u32 log2_slot(__u64 v)
{
	__u32 hi = v >> 32, r, s;

	if (hi)
		return SLOTS - 1;
	r = v;
	s = (r > 0xffff) << 4;
	r >>= s;
	hi = s;
	s = (r > 0xff) << 3;
	r >>= s;
	hi |= s;
	s = (r > 0xf) << 2;
	r >>= s;
	hi |= s;
	s = (r > 0x3) << 1;
	r >>= s;
	hi |= s;
	hi |= r >> 1;
	return hi < SLOTS ? hi : SLOTS - 1;
}

static __always_inline __u32 task_state(struct task_struct *t)
{
	if (bpf_core_field_exists(t->__state))
		return BPF_CORE_READ(t, __state);
	return BPF_CORE_READ((struct task_struct___old *)t, state);
}

// read_ancestors walks up the tree of processes.
static __always_inline void read_ancestors(struct task_struct *t, __u32 *ancestors)
{
#pragma unroll
	for (int i = 0; i < MAX_DEPTH; i++) {
		t = BPF_CORE_READ(t, real_parent);
		if (!t)
			break;
		ancestors[i] = BPF_CORE_READ(t, tgid);
	}
}

static __always_inline void read_proc(struct task_struct *t, struct proc_stats *s)
{
	s->uid = BPF_CORE_READ(t, cred, uid.val);
	s->flags = BPF_CORE_READ(t, flags) & PF_KTHREAD;
	s->prio = BPF_CORE_READ(t, prio);
	s->policy = BPF_CORE_READ(t, policy);
	if (!s->flags)
		s->map_count = BPF_CORE_READ(t, mm, map_count) > 0;
	read_ancestors(t, s->ancestors);
}

// proc_of finds a task's process in the table, or puts it there.
static __always_inline struct proc_stats *proc_of(struct task_struct *t)
{
	struct proc_stats *s, fresh = {};
	struct proc_key key = {};

	key.tgid = BPF_CORE_READ(t, tgid);
	if (target_tgid && key.tgid != target_tgid)
		return 0;
	key.uts_ns = BPF_CORE_READ(t, nsproxy, uts_ns, ns.inum);
	if (BPF_CORE_READ_STR_INTO(&key.comm, t, group_leader, comm) < 0) {
		count(EVENT_ERROR);
		return 0;
	}
	s = bpf_map_lookup_elem(&procs, &key);
	if (s)
		return s;
	read_proc(t, &fresh);
	if (fresh.flags && skip_kthreads)
		return 0;
	bpf_map_update_elem(&procs, &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&procs, &key);
}

static __always_inline struct proc_stats *current_proc(void)
{
	return proc_of((struct task_struct *)bpf_get_current_task());
}

static __always_inline void add_latency(__u32 tgid, __u64 ns)
{
	struct histogram *h, fresh = {};
	__u32 slot = log2_slot(ns / 1000);

	h = bpf_map_lookup_elem(&latencies, &tgid);
	if (!h) {
		bpf_map_update_elem(&latencies, &tgid, &fresh, BPF_NOEXIST);
		h = bpf_map_lookup_elem(&latencies, &tgid);
		if (!h)
			return;
	}
	if (slot < SLOTS)
		h->slots[slot] += 1;
}

static __always_inline void goes_off(struct task_struct *prev, int preempt)
{
	struct sleeping off = {.since = bpf_ktime_get_ns()};
	struct proc_stats *s = proc_of(prev);
	__u32 pid = BPF_CORE_READ(prev, pid);

	if (!s)
		return;
	off.tgid = BPF_CORE_READ(prev, tgid);
	off.state = task_state(prev);
	__sync_fetch_and_add(&s->switches, 1);
	if (preempt)
		__sync_fetch_and_add(&s->preempted, 1);
	else if (off.state & (TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE))
		__sync_fetch_and_add(&s->blocked, 1);
	bpf_map_update_elem(&sleepers, &pid, &off, BPF_ANY);
}

static __always_inline void comes_on(struct task_struct *next)
{
	__u32 pid = BPF_CORE_READ(next, pid);
	struct sleeping *off = bpf_map_lookup_elem(&sleepers, &pid);
	struct proc_stats *s;
	__u64 ns;

	if (!off)
		return;
	ns = bpf_ktime_get_ns() - off->since;
	if ((__s64)ns >= 0 && ns >= min_off_cpu_ns) {
		add_latency(off->tgid, ns);
		s = proc_of(next);
		if (s)
			__sync_fetch_and_add(&s->off_cpu_ns, ns);
	}
	bpf_map_delete_elem(&sleepers, &pid);
}

SEC("raw_tp/sched_switch")
int on_switch(struct raw_args *ctx)
{
	struct task_struct *prev = (void *)ctx->args[1];
	struct task_struct *next = (void *)ctx->args[2];

	count(EVENT_SWITCH);
	goes_off(prev, ctx->args[0] != 0);
	comes_on(next);
	return 0;
}

SEC("raw_tp/sched_wakeup")
int on_wakeup(struct raw_args *ctx)
{
	struct task_struct *t = (void *)ctx->args[0];
	struct sleeping fresh = {}, *off;
	__u32 pid = BPF_CORE_READ(t, pid);

	count(EVENT_WAKEUP);
	off = bpf_map_lookup_elem(&sleepers, &pid);
	if (off) {
		off->since = bpf_ktime_get_ns();
		return 0;
	}
	fresh.tgid = BPF_CORE_READ(t, tgid);
	fresh.since = bpf_ktime_get_ns();
	if (target_tgid && fresh.tgid != target_tgid)
		return 0;
	bpf_map_update_elem(&sleepers, &pid, &fresh, BPF_NOEXIST);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int on_exit(struct raw_args *ctx)
{
	struct task_struct *t = (void *)ctx->args[0];
	__u32 pid = BPF_CORE_READ(t, pid);
	__u32 tgid = BPF_CORE_READ(t, tgid);

	count(EVENT_EXIT);
	bpf_map_delete_elem(&sleepers, &pid);
	if (pid == tgid)
		bpf_map_delete_elem(&latencies, &tgid);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int on_openat(struct sys_enter_args *ctx)
{
	const char *path = (const char *)ctx->args[1];
	struct open_record *r;
	struct proc_stats *s;
	__u32 zero = 0;

	count(EVENT_OPEN);
	s = current_proc();
	if (!s)
		return 0;
	__sync_fetch_and_add(&s->opens, 1);
	r = bpf_map_lookup_elem(&scratch, &zero);
	if (!r)
		return 0;
	r->tgid = bpf_get_current_pid_tgid() >> 32;
	r->flags = ctx->args[2];
	bpf_get_current_comm(r->comm, sizeof(r->comm));
	if (bpf_probe_read_user_str(r->path, sizeof(r->path), path) < 0) {
		count(EVENT_ERROR);
		return 0;
	}
	bpf_map_update_elem(&last_open, &r->tgid, r, BPF_ANY);
	return 0;
}

SEC("kprobe/tcp_v4_connect")
int on_connect(void *ctx)
{
	struct proc_stats *s = current_proc();

	(void)ctx;
	count(EVENT_CONNECT);
	if (s)
		__sync_fetch_and_add(&s->connects, 1);
	return 0;
}

SEC("perf_event")
int on_sample(struct bpf_perf_event_data *ctx)
{
	struct sample_key key = {.pid = bpf_get_current_pid_tgid()};
	struct proc_stats *s;
	__u64 *n, one = 1;

	count(EVENT_SAMPLE);
	if (!key.pid)
		return 0;
	s = current_proc();
	if (!s)
		return 0;
	__sync_fetch_and_add(&s->samples, 1);
	key.kernel_stack = bpf_get_stackid(ctx, &stacks, 0);
	key.user_stack = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	n = bpf_map_lookup_elem(&samples, &key);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&samples, &key, &one, BPF_NOEXIST);
	return 0;
}

char _license[] SEC("license") = "GPL";
