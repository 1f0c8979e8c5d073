// Kernel functions and a program on a tracepoint with BTF.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct task_struct {
	int pid;
	int tgid;
} __attribute__((preserve_access_index));

struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
void bpf_task_release(struct task_struct *p) __ksym;

SEC("tp_btf/task_newtask")
int on_new(unsigned long long *ctx)
{
	struct task_struct *t = (void *)ctx[0], *a;

	a = bpf_task_acquire(t);
	if (a)
		bpf_task_release(a);
	return t->pid + t->tgid;
}

char _license[] SEC("license") = "GPL";
