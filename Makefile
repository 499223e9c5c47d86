# Usher: what can be done here. "make" lists it.

GO ?= go
LINT = $(GO) tool -modfile=.ci/tools.mod

.DEFAULT_GOAL := help
.PHONY: help setup test check check-deploy bench soak generate build demo fuzz security screenshots

help: ## list these targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/usher
	CGO_ENABLED=0 $(GO) build -o bin/usher ./cmd/usher

demo: ## register a person and watch what happens
	$(GO) run ./cmd/usher demo

setup: ## install what the tests need, where this may
	$(GO) run ./cmd/internal/testrun -run '^$$' ./cmd/internal/layout

test: ## run all tests, with what they need
	$(GO) run ./cmd/internal/testrun

check: ## format, vet, lint, layout, generated files unchanged, pure Go
	.ci/check

check-deploy: ## what deploy/ holds: parsed, rendered, started, and broken copies refused
	$(GO) -C deploy/check mod tidy -diff
	$(GO) -C deploy/check vet ./...
	$(GO) -C deploy/check tool -modfile=../../.ci/tools.mod golangci-lint run -c ../../.ci/golangci.yml ./...
	$(GO) -C deploy/check test -count=1 -timeout=30m ./... # what is cached does not know of files outside of its module

bench: ## measure, floors and goals beside; PART=outbox one part
	USHER_BENCH=1 $(GO) test -run '^TestBench$$/$(PART)' -count=1 -timeout=60m -v ./cmd/e2e

screenshots: ## take the built-in pages and those of the console into SCREENSHOTS (default bin/screenshots)
	USHER_TEST_SCREENSHOTS=$(abspath $(or $(SCREENSHOTS),bin/screenshots)) $(GO) test -run '^TestScreenshots$$' -count=1 -timeout=15m -v ./cmd/e2e

soak: ## break every part under load, and see that nothing is lost; PART='^TestFaults$$' one test
	USHER_TEST_SOAK=1 $(GO) test -run '$(or $(PART),^(TestSoak|TestFaults|TestPowerCut|TestNodes|TestTheDatabaseFailsOver|TestSoakVersions|TestTheBusIsDown|TestPagesInABrowser)$$)' -count=1 -timeout=180m -v ./cmd/e2e

fuzz: ## fuzz each parser for FUZZTIME (default 30s)
	.ci/fuzz $(or $(FUZZTIME),30s)

security: ## the long forms of what attacks: tokens, properties, fuzz, overload
	.ci/security $(or $(FUZZTIME),30s)

generate: ## make the generated files again
	$(GO) generate ./...
