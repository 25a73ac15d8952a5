# "make" lists the goals. All of them work on a fresh clone with Go alone;
# what a goal needs beyond that it says, or installs where it may.

GO       := go
FUZZTIME ?= 30s
BENCH    ?= .
RUN      ?= .
PKGS     ?= ./...

# What cli has for making documents, which we do not use: without it every
# command starts sooner.
TAGS     := -tags urfave_cli_no_docs

export CGO_ENABLED = 0
# Go is not always in root's PATH.
export PATH := $(PATH):/usr/local/go/bin

# The damaged images lie beside the project, not in it: see testimages.Corpus.
ifneq ($(wildcard ../shared/corpus),)
export E4KIT_CORPUS ?= $(abspath ../shared/corpus)
endif

TESTFLAGS ?= -timeout 30m

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the goals
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/e4kit; the version comes from the git tag
	$(GO) build -trimpath $(TAGS) -o bin/ ./tools/e4kit

.PHONY: install
install: ## install e4kit into $GOBIN, or go's default
	$(GO) install -trimpath $(TAGS) ./tools/e4kit

.PHONY: demo
demo: build ## run the main job on the image the repository carries
	@tools/build/demo.sh bin/e4kit

.PHONY: demo-image
demo-image: ## make that image anew; needs root and loop devices
	$(GO) run ./testimages/demo/make testimages/demo

.PHONY: setup
setup: ## install what the tests ask about ext4 (root and apt-get), or say what they will skip
	@tools/build/setup.sh

.PHONY: test
test: setup ## run all tests
	@tools/build/test.sh $(TESTFLAGS) -run '$(RUN)' $(PKGS)

.PHONY: test-short
test-short: ## run the quick tests only
	@tools/build/test.sh -short $(TESTFLAGS) $(PKGS)

.PHONY: test-race
test-race: setup ## run all tests under the race detector; needs a C compiler
	@CGO_ENABLED=1 tools/build/test.sh -race $(TESTFLAGS) -run '$(RUN)' $(PKGS)

.PHONY: lint
lint: ## gofmt, go vet (for each system), staticcheck, govulncheck
	@tools/build/gofmt.sh
	$(GO) vet $(PKGS)
	@set -e; for os in darwin freebsd windows; do echo GOOS=$$os go vet; GOOS=$$os $(GO) vet $(PKGS); done
	GOARCH=386 $(GO) vet ./ext4fs/... ./dump/... ./testimages/... ./tools/...
	$(GO) tool staticcheck $(PKGS)
	@tools/build/govulncheck.sh $(PKGS)

.PHONY: cross
cross: ## build for every system and word size we promise
	@set -e; for t in linux/amd64 linux/arm64 linux/386 linux/s390x darwin/arm64 freebsd/amd64 windows/amd64; do \
		echo "build $$t"; GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build $(TAGS) -o /dev/null ./tools/e4kit; done

.PHONY: fuzz
fuzz: ## run each fuzz target (or those that match FUZZ) for FUZZTIME (30s)
	@FUZZTIME=$(FUZZTIME) FUZZ='$(FUZZ)' tools/build/fuzz.sh

.PHONY: bench
bench: setup ## measure e4kit against its peers; BENCHFLAGS="--only RE --rounds N", --list lists
	$(GO) run ./tools/bench $(BENCHFLAGS)

.PHONY: bench-go
bench-go: ## run the Go benchmarks that match BENCH
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 2h $(PKGS)

.PHONY: cover
cover: setup ## run all tests, tell how much code they reach
	@mkdir -p bin
	@tools/build/test.sh $(TESTFLAGS) -coverpkg=./... -coverprofile=bin/cover.out $(PKGS)
	@$(GO) tool cover -func=bin/cover.out | tail -n 1
	@echo "line by line: go tool cover -html=bin/cover.out"

.PHONY: man
man: build ## write the manual pages into bin/man
	bin/e4kit man bin/man

.PHONY: completion
completion: build ## write the shell completions into bin/completion
	@mkdir -p bin/completion
	@set -e; for s in bash zsh fish; do bin/e4kit completion $$s >bin/completion/e4kit.$$s; echo bin/completion/e4kit.$$s; done

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
