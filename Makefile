# make = this help. Everything here also works without make: see README.md.
GO      ?= go
CACHE   ?= $(or $(CALRUN_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/calrun)
TOOLS   := $(CACHE)/tools
LINT    := $(TOOLS)/golangci-lint-2.15.0
FUMPT   := $(TOOLS)/gofumpt-0.12.0
PEERS   := $(CACHE)/peers-1

.DEFAULT_GOAL := help
.PHONY: help build run test check race long crash crash-peers bench bench-vidur bench-runners real closed-loop schema

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/	/' | expand -t 15

build: ## bin/calrun
	$(GO) build -o bin/calrun ./cmd/calrun

run: build ## the main job: the quickstart plan, from an emulated engine to a verdict
	bin/calrun run plans/quickstart.yaml

test: ## all tests that need Go alone
	$(GO) test ./...

race: ## the same under the race detector
	$(GO) test -race ./...

long: ## recovery, attribution and the intervals of comparisons, as often as their figures need (minutes)
	CALRUN_LONG=1 $(GO) test -count=1 -timeout 60m -v -run 'Recovery|OneRate|Attribution|Rivals|Acceptance|Equivalen' ./steps ./internal/compare

check: $(LINT) $(FUMPT) ## format, vet, lint
	@found=$$($(FUMPT) -l .) && test -z "$$found" || { echo "gofumpt: format these files: $$found"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags real ./...
	cd examples/your-own-step && $(GO) vet ./...
	$(LINT) run ./...

schema: ## write the schemas of plans and documents from the Go types
	$(GO) test ./schema -update

crash: ## kill calrun everywhere and at any time, resume it, and count what went wrong (minutes)
	$(GO) run ./cmd/crash

crash-peers: $(PEERS)/ready ## random times alone, and the same for make, ninja, go-task and Snakemake (minutes)
	PATH="$(PEERS)/bin:$$PATH" $(GO) run ./cmd/crash -peers

bench: ## speed and memory
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(MAKE) bench-vidur

bench-vidur: ## the real Vidur and the embedded simulator side by side: installs Vidur (0.5 GB in the cache folder)
	$(GO) test -tags real -run '^$$' -bench RealVidur -benchtime 1x -timeout 30m ./examples/vidur

bench-runners: $(PEERS)/ready ## what a step costs here, and with make, ninja, go-task, doit and Snakemake (minutes)
	PATH="$(PEERS)/bin:$$PATH" $(GO) test -tags peers -run Runners -count=1 -timeout 40m -v ./bench

real: ## against a real vLLM and the real Vidur: installs both (minutes, 7 GB in the cache folder)
	$(GO) test -tags real -count=1 -timeout 40m -v -run Real ./examples/...

closed-loop: ## probes, tune and held-out rates on a real vLLM: half an hour, two cores
	$(GO) test -tags real -count=1 -timeout 90m -v -run TestClosedLoop ./examples/vllm-cpu

$(LINT):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(TOOLS)/golangci-lint $@

$(FUMPT):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) $(GO) install mvdan.cc/gofumpt@v0.12.0
	mv $(TOOLS)/gofumpt $@

# Other runners, for comparisons; make itself is the system's.
$(PEERS)/ready:
	python3 -m venv $(PEERS)
	$(PEERS)/bin/pip install -q --disable-pip-version-check ninja==1.13.2 doit==0.37.0 snakemake==9.27.1
	GOBIN=$(PEERS)/bin $(GO) install github.com/go-task/task/v3/cmd/task@v3.54.0
	touch $@
