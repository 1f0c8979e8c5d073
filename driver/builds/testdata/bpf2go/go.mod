module example.com/count

go 1.26

tool github.com/cilium/ebpf/cmd/bpf2go

require github.com/cilium/ebpf v0.22.0

require golang.org/x/sys v0.43.0 // indirect
