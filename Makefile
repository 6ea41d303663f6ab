# SPDX-License-Identifier: Apache-2.0
# Every target says what it does: make help

SHELL := bash
GO ?= go
BIN := bin/dray

.PHONY: help
help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/dray, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN) ./cmd/dray

.PHONY: demo
demo: build ## build images, move them between two registries, and clean up
	@bash scripts/demo.sh $(BIN)

.PHONY: test
test: check unit cross ## all checks and tests, with Go alone

.PHONY: check
check: ## gofmt, go vet, staticcheck
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "gofmt: $$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

.PHONY: unit
unit: ## the tests, with the race detector
	$(GO) test -race -timeout 20m ./...

.PHONY: cross
cross: ## build for every platform that is supported
	@for p in linux darwin windows; do for a in amd64 arm64; do \
	  echo "build $$p/$$a"; CGO_ENABLED=0 GOOS=$$p GOARCH=$$a $(GO) build -o /dev/null ./... || exit 1; done; done

.PHONY: fuzz
fuzz: ## every fuzz target for a while (FUZZTIME=20s)
	@bash scripts/fuzz.sh $${FUZZTIME:-20s}

.PHONY: docs
docs: ## render the examples of the documentation from the scripts that test them
	$(GO) test ./internal/cli -run TestScript -update

.PHONY: test-deps
test-deps: ## install the other software that tests use (Debian, as root)
	@bash scripts/test-deps.sh

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
