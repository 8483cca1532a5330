# Everything here sets itself up in .venv; a fresh Debian 12 needs only python3 and make.
# `make test` also installs mariadb-server and curl by apt-get when they are absent, and starts no service.
SHELL := /bin/bash
export PATH := $(PATH):/usr/sbin:/sbin

# receiver.py is the other side of a benchmark, not one.
BENCHMARKS = $(filter-out benchmarks/receiver.py,$(shell grep -l '^if __name__' benchmarks/*.py))

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos chaos-short lint bench clean

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile

setup: ## .venv, ready to run celreplay
	@scripts/setup

demo: ## calls of a real PBX, delivered to a CRM on this machine
	@scripts/setup
	@.venv/bin/celreplay demo

lint: ## ruff and mypy
	@scripts/setup test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test: lint ## lint, then every test against real servers
	.venv/bin/python -m pytest -n 2 -q

chaos: ## kill everything at random for a quarter of an hour, and judge what arrived (docs/chaos.md)
	@scripts/setup test
	@cd tests && ../.venv/bin/python -m chaos $(CHAOS)

chaos-short: ## the same in four minutes
	@scripts/setup test
	@cd tests && ../.venv/bin/python -m chaos --short $(CHAOS)

bench: ## the benchmarks, which print figures
	@scripts/setup test
	@set -e; for program in $(BENCHMARKS); do echo "== $$program"; .venv/bin/python $$program; done

clean: ## take away what the others made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist celreplay.egg-info
