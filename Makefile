SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME := 30s

.PHONY: build test demo bench lint fuzz clean bootstrap

build: bootstrap
	go build -o bin/k2cc ./cmd/k2cc

# Everything below needs what this installs; it is silent when all is there.
bootstrap:
	@scripts/bootstrap

test: bootstrap
	go test -json -timeout 10m ./... | go run ./scripts/testlog

demo: build
	bin/k2cc demo examples

bench: build
	bin/k2cc bench ../shared/k2bench
	bin/k2cc bench --config scripts/size.toml ../shared/k2bench

lint: bootstrap
	@unformatted=$$(gofmt -l .); if [[ -n $$unformatted ]]; then echo "not gofmt-ed:" $$unformatted >&2; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

fuzz: bootstrap
	scripts/fuzz $(FUZZTIME)

clean:
	rm -rf bin build
