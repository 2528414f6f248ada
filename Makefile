# What there is to do with this repository, on Debian 12 with Rust. Everything else that is needed is installed by scripts/.

.PHONY: build test lint unit advisories demo bench drill fuzz clean

# Seconds per fuzz target.
FUZZ_SECONDS ?= 60

build:
	cargo build --release --locked

# Everything that must hold before a change goes in. Real servers are installed where they are missing.
test: tools lint unit

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

fuzz:
	scripts/fuzz.sh $(FUZZ_SECONDS)

clean:
	cargo clean
