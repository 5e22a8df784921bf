# SPDX-License-Identifier: Apache-2.0 OR MIT
.PHONY: help demo test test-fast bench lint fuzz

help: ## what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 18

demo: ## boots a microVM on a Nix store of this machine and looks at it from inside
	@demo/run

test: ## every test, with real guests; installs what it needs (Debian 12 or newer)
	@.ci/provision
	@.ci/test

test-fast: ## the tests that need no guest
	cargo test --workspace --locked -- --skip guests_

bench: ## the benchmarks, beside their peers
	@benches/run

lint: ## format, lints, documentation, licences
	@.ci/lint

fuzz: ## each fuzz target for a minute
	@fuzz/run 60
