// CO-RE relocations of several kinds, kernel symbols and kernel functions.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
	char comm[16];
} __attribute__((preserve_access_index));

enum cgroup_subsys_id { cpu_cgrp_id = 1, dummy_id = 7 };

void bpf_rcu_read_lock(void) __ksym __weak;
void bpf_rcu_read_unlock(void) __ksym __weak;
extern void schedule __ksym __weak;
extern int LINUX_KERNEL_VERSION __kconfig;

struct event { int pid, ppid; unsigned long long where; char comm[16]; };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

static __attribute__((noinline)) int parent(struct task_struct *t)
{
	struct task_struct *p = BPF_CORE_READ(t, real_parent);
	int pid = BPF_CORE_READ(p, pid);

	if (!bpf_core_field_exists(t->tgid))
		return -1;
	return pid + BPF_CORE_READ(p, tgid);
}

SEC("raw_tracepoint/sched_switch")
int on_switch(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return 0;
	e->pid = BPF_CORE_READ(t, pid);
	e->ppid = parent(t);
	e->where = (unsigned long long)&schedule;
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, dummy_id))
		e->ppid += bpf_core_enum_value(enum cgroup_subsys_id, dummy_id);
	e->pid += bpf_core_type_size(struct task_struct);
	if (LINUX_KERNEL_VERSION > 0x50000)
		BPF_CORE_READ_STR_INTO(&e->comm, t, comm);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("syscall")
int locked(void *ctx)
{
	if (bpf_rcu_read_lock && bpf_rcu_read_unlock) {
		bpf_rcu_read_lock();
		bpf_rcu_read_unlock();
	}
	return 0;
}

char _license[] SEC("license") = "GPL";
