# `make help` lists what there is. The gate is `make check`; the larger half of it is `make test`.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

CACHE := $(or $(WATCHBELL_TEST_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/watchbell)
DENY_VERSION := 0.20.2
DENY := $(CACHE)/tools/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
SCHEMATHESIS_VERSION := $(shell sed -n 's/^schemathesis==//p' tests/fuzz/requirements.txt)
FUZZ_ENV := $(CACHE)/tools/schemathesis-$(SCHEMATHESIS_VERSION)

# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help demo check lint test deny audit bench bench-policy fuzz-api upstream soak breaks tools

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 24

demo: ## build, then watch notifications arrive: Kafka, store and providers embedded in one process
	cargo run --locked --bin watchbell -- demo --text

check: lint deny test ## the whole gate: formatting, lints, documentation, licences, every test

# The first build needs perl, for OpenSSL. Where it is missing, the script that installs what the tests need comes before the compiler.
tools:
	@command -v perl >/dev/null || tests/services/run -- true

lint: tools
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --no-deps --document-private-items

# The pure parts run first: they fail in seconds. The fault tests run one at a time: each stops servers of its own; they print their
# seeds and what they counted.
test: tools ## every test, against a real Kafka, Redis and PostgreSQL that are started and stopped here
	cargo test --locked --no-run
	cargo test --locked --lib --bins
	cargo test --locked --doc
	tests/services/run -- cargo test --locked --test it
	tests/services/run -- cargo test --locked --test faults -- --test-threads=1 --nocapture

deny: $(DENY) ## licences, forbidden crates, where crates come from
	$(DENY) check licenses bans sources

audit: $(DENY) ## known vulnerabilities (fetches the RustSec database)
	$(DENY) check advisories

# Arguments of the benchmarks go in BENCH, for example: make bench BENCH='--rounds 3'
bench: ## the worker against a bare HTTP/2 client, on a real broker; writes target/bench.json
	cargo build --locked --release --features bench --bins
	tests/services/run -- $(TARGET)/release/watchbell-bench worker $(BENCH)

bench-policy: ## how long workers use a setting that was changed: three workers under load; writes target/bench-policy.json
	cargo build --locked --release --features bench --bins
	tests/services/run -- $(TARGET)/release/watchbell-bench policy $(BENCH)

# Not part of the gate: it needs Python 3.11 or later with venv, and fetches packages. Arguments go in FUZZ, for example:
# make fuzz-api FUZZ='--personas admin --seed 7 --max-examples 500'
fuzz-api: tools $(FUZZ_ENV)/complete ## schemathesis plays the API against its own description; what it says is kept under docs/
	cargo build --locked --bins
	tests/services/run -- $(FUZZ_ENV)/bin/python tests/fuzz/run.py $(TARGET)/debug/watchbell $(FUZZ) 2>&1 \
		| sed --unbuffered 's/[[:space:]]*$$//; /Configuration:/,/^$$/{/^$$/!d}' | tee docs/fuzz.txt

# Not part of the gate: it needs Python with venv and Maven, and fetches packages with both.
upstream: tools ## run the programs of docs/upstream.md as the page says; what they print is kept under docs/
	cargo test --locked --no-run --test it
	tests/services/run -- cargo test --locked --test it both_programs -- --ignored --nocapture 2>&1 \
		| sed --unbuffered -E '/^ *(Finished|Running|Looking|Collecting|Downloading|Installing|Attempting|Found|Uninstalling) |ninstalled set|% Total|Dload|--:--|━/d; s#$(CURDIR)#.#; s#/tmp/\.tmp[^/ ]*#/tmp#g; s/[[:space:]]*$$//' \
		| tee docs/upstream.txt

soak: ## the fault tests at full numbers, then the breaks; what they say is kept under docs/
	WATCHBELL_SOAK=1 tests/services/run -- cargo test --locked --test faults -- --test-threads=1 --nocapture 2>&1 \
		| grep --line-buffered -vE '^ *(Compiling|Finished|Running|Blocking) ' | tee docs/soak.txt
	tests/breaks/run 2>&1 | tee docs/breaks.txt

breaks: ## apply each patch of tests/breaks to a scratch copy and expect its test to turn red
	tests/breaks/run

# Debian has no package of it. A debug build is enough for a minute's work a day, and half as long to make.
$(DENY):
	cargo install --locked --debug --root $(CACHE)/tools/cargo-deny-$(DENY_VERSION) cargo-deny --version $(DENY_VERSION)

$(FUZZ_ENV)/complete: tests/fuzz/requirements.txt
	python3 -m venv $(FUZZ_ENV)
	$(FUZZ_ENV)/bin/pip install --quiet --disable-pip-version-check --requirement tests/fuzz/requirements.txt
	touch $@
