SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME := 10s

LLVMS := 22 19

.PHONY: build plugin install test demo bench lint fuzz proofs clean bootstrap

build: bootstrap
	go build -o bin/k2cc ./cmd/k2cc

# Everything below needs what this installs; it is silent when all is there.
bootstrap:
	@scripts/bootstrap

# The plugin for clang, once for each LLVM.
plugin: build
	@scripts/bootstrap $(LLVMS:%=llvm-%-dev)
	@for llvm in $(LLVMS); do $(MAKE) --no-print-directory -f passes/llvm/plugin.mk LLVM=$$llvm; done
	@ln -sf libk2-$(firstword $(LLVMS)).so bin/libk2.so

# k2cc, the plugins that were made, its man page and completions, below $(DESTDIR)$(PREFIX).
PREFIX := /usr/local
install: build
	install -D -m 755 bin/k2cc $(DESTDIR)$(PREFIX)/bin/k2cc
	for plugin in $(wildcard bin/libk2-*.so); do install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/k2cc $$plugin; done
	bin/k2cc man | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/man/man1/k2cc.1
	bin/k2cc completion bash | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/bash-completion/completions/k2cc
	bin/k2cc completion zsh | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_k2cc
	bin/k2cc completion fish | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/k2cc.fish

test: bootstrap
	go test -json -timeout 20m ./... | go run ./scripts/testlog

demo: build
	bin/k2cc demo examples

bench: build
	bin/k2cc demo examples
	bin/k2cc bench ../shared/k2bench
	bin/k2cc bench --config scripts/size.toml ../shared/k2bench
	go test ./driver -run '^$$' -bench Linear -benchtime 1x
	bin/k2cc lint --optimise examples ../shared/k2bench \
	  $$(find $$(go list -m -f '{{.Dir}}' github.com/cilium/ebpf) -name '*.o' -o -name '*.elf')

lint: bootstrap
	@unformatted=$$(gofmt -l .); if [[ -n $$unformatted ]]; then echo "not gofmt-ed:" $$unformatted >&2; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

fuzz: bootstrap
	scripts/fuzz $(FUZZTIME)

proofs: plugin
	scripts/proofs

clean:
	rm -rf bin build
