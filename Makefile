# The two commands of the README are `make up` and `make test`.
CARGO ?= cargo
BIN := $(or $(CARGO_TARGET_DIR),target)

.PHONY: up down test bench check lint tools

up: tools ## Build, start a node, apply an example, wait until it serves
	$(CARGO) build --release --locked
	scripts/up $(BIN)/release/shoal

down: ## End the node that `make up` started and everything on it
	$(BIN)/release/shoal down --data /var/lib/shoal

test: tools ## Every test; needs root for containers and network namespaces
	scripts/test

bench: ## Figures beside a peer, in one run
	scripts/tools bench
	$(CARGO) bench --locked

check: ## What to run while editing
	$(CARGO) check --locked --all-targets

lint: ## Formatting and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

tools: ## System packages, where they are missing
	scripts/tools
