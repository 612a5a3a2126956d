# The front door: what a person does with this repository. Each line calls one script in scripts/.

# A second copy runs beside the first with its own: make up RUN_DIR=/tmp/two PORT_BASE=10080. Variables of the command line and
# of the environment reach the scripts by themselves; "export" would hand on empty ones for those that nobody set.

.DEFAULT_GOAL := help
.PHONY: help deps build demo up infra down status logs audit psql rotate-keys test bench fuzz-api format lint clean

help: ## this page
	@echo 'A brokerage back end. Start with:  make demo'
	@echo
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo
	@echo 'Variables:      RUN_DIR    what a running copy keeps (.run)'
	@echo '                PORT_BASE  first of its ports (8080): gateway +0, services +1 to +5, PostgreSQL +10, Kafka +11'
	@echo '                PRESET     release, debug, asan or tsan (release)'
	@echo '                LIMITS     off: no quotas, no cap an address or an upstream, for load tests'
	@echo '                TLS        1: the gateway speaks HTTPS, with a certificate of a private CA (RUN_DIR/tls/ca.pem)'
	@echo '                LOG_LEVEL  debug, info, warn or error (info)'

deps: ## install the packages that are missing (apt)
	@scripts/deps run test

build: ## build build/$PRESET/bin/*
	@scripts/build

demo: ## from nothing to a running system, and its story played through the gateway
	@scripts/deps run
	@scripts/build
	@scripts/up
	@scripts/demo

up: build ## start everything, or what is not up yet, or what was rebuilt
	@scripts/up

infra: ## start PostgreSQL and Kafka only
	@scripts/up --infra

down: ## stop everything cleanly; data is kept
	@scripts/down

status: ## each process: pid, ready or not, lag
	@scripts/status || true

logs: ## follow the logs (S="order-svc gateway": only those)
	@scripts/logs $(S)

audit: ## check every invariant of the books, across all services
	@scripts/audit

psql: ## a prompt on the database (ROLE=orders_owner; default: read only)
	@scripts/psql

rotate-keys: ## a new key that signs access tokens; the ones before verify on until their last token has expired
	@scripts/rotate-keys

test: ## all tests, on an instance of their own
	@scripts/deps run test
	@scripts/test

bench: ## measure (BENCH=orders: only that one)
	@scripts/deps run bench
	@PRESET=release scripts/build
	@scripts/bench

fuzz-api: ## fuzz a copy of its own by its contract (FUZZ_SECONDS=1800)
	@scripts/deps run test
	@scripts/test build_release fuzz_api

format: ## lay out the C code as .clang-format says
	@scripts/format

lint: ## look for mistakes: clang-format, clang-tidy, shellcheck, the API contract
	@scripts/lint

clean: ## stop, and remove the data and what was built
	@scripts/clean
