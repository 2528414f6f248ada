# What there is to do with this repository, on Debian 12 with Rust. Everything else that is needed is installed by scripts/.

.PHONY: build test quick lint unit advisories demo bench drill simulate mutants fuzz clean

# Seconds per fuzz target.
FUZZ_SECONDS ?= 60

# Histories of `make simulate`, and the seed of the first.
SIM_HISTORIES ?= 100000
SIM_FIRST ?= 1

build:
	cargo build --release --locked

# Everything that must hold before a change goes in. Real servers are installed where they are missing.
test: tools lint unit

# Format, lints, and every test that needs no server: a few minutes.
quick:
	scripts/install-tools.sh
	$(MAKE) lint
	cargo nextest run --workspace --locked -E 'not test(/^clickhouse::|on_(mysql|mariadb)$$/)'

tools:
	scripts/install-tools.sh
	scripts/install-servers.sh
.PHONY: tools

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --workspace --no-deps --document-private-items --locked --quiet
	cargo deny --locked check --hide-inclusion-graph bans licenses sources

unit:
	cargo nextest run --workspace --locked
	cargo test --workspace --doc --locked --quiet

# Known vulnerabilities in dependencies; needs github.com.
advisories:
	scripts/install-tools.sh deny
	cargo deny check advisories

demo:
	scripts/demo.sh

bench:
	scripts/bench.sh

# The kill tests with 200 kills each; NAMES="clickhouse on_mysql" takes those alone whose path contains every word.
drill: tools
	scripts/drill.sh $(NAMES)

# Many more histories of the simulator than `make test` runs.
simulate:
	REPLICATOR_SIM_HISTORIES=$(SIM_HISTORIES) REPLICATOR_SIM_FIRST=$(SIM_FIRST) \
		cargo test --release --locked --test simulation -- --nocapture every_history

# The simulator finds every known fault (src/mutants.rs).
mutants:
	cargo test --locked --features mutants --test simulation -- --nocapture every_known_fault_is_found

fuzz:
	scripts/fuzz.sh $(FUZZ_SECONDS)

clean:
	cargo clean
