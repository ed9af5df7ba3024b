# The four verbs of this tree, and their parts. Each works on a fresh Debian 12: scripts/setup installs
# what is missing and is silent when nothing is.
#
#   make run     build, get the default model, show a first answer, then serve (ONESHOT=1: stop there)
#   make test    everything: unit tests, sanitizers, real clients, faults, fuzz corpus
#   make bench   the claims, measured side by side with the peers
#   make bench-engine   the engine's part alone (QUICK=1: under 10 minutes)
#   make lint    format, static analysis, header independence (CHANGED=1: changed files only)

SHELL := /bin/bash
BIN := build/release/bin/genesis
# Seconds per fuzz target for `make fuzz`.
FUZZ_SECONDS ?= 60

.PHONY: help run build test unit lint bench bench-engine fuzz setup clean

help:
	@sed -n '4,8s/^# *//p' Makefile

setup:
	@scripts/setup

build: setup
	cmake --preset release
	cmake --build --preset release

run: setup
	@cmake --preset release >build-configure.log 2>&1 || { cat build-configure.log; exit 1; }
	@rm -f build-configure.log
	cmake --build --preset release --target genesis
	@GENESIS=$(BIN) ONESHOT=$(ONESHOT) scripts/first_answer

test:
	@scripts/run_tests

unit: build
	ctest --preset release --label-regex 'unit|fuzz|hygiene'

lint:
	@scripts/lint

bench:
	@scripts/setup --bench
	cmake --preset release
	cmake --build --preset release
	@scripts/bench

bench-engine:
	@scripts/setup --bench
	cmake --preset release
	cmake --build --preset release --target genesis logits_probe
	@scripts/bench engine

fuzz:
	@scripts/fuzz $(FUZZ_SECONDS)

clean:
	rm -rf build
