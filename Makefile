# `make demo` shows the main job on a real photo; `make test` passes all tests.
# Both install what they need into .venv by themselves.

PYTHON ?= python3
BIN := .venv/bin
# Processes that run tests side by side; each has servers and stacks of its own.
WORKERS ?= 2
SETUP := $(PYTHON) nijika/local/bootstrap.py

.PHONY: help demo run test retest test-engines retest-engines lint fix bench bench-images bench-delivery bench-gpu gallery screenshots chaos mutants lock

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: ## cut out a real photo, end to end, and stop
	@$(SETUP) run
	@$(BIN)/python -m nijika.local demo

run: ## start nijika on this machine; Ctrl-C stops it
	@$(SETUP) run
	@$(BIN)/python -m nijika.local run

test: ## all tests
	@$(SETUP) test
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadscope

retest: ## what failed last time, one at a time
	@$(BIN)/python -m pytest -q --last-failed

test-engines: ## the tests that need torch or the providers' SDKs
	@$(SETUP) engines
	@.venv-engines/bin/python -m pytest -q -n $(WORKERS) --dist loadscope -m engines tests/engines

retest-engines: ## what of them failed last time, one at a time
	@.venv-engines/bin/python -m pytest -q --last-failed tests/engines

lint: ## ruff, mypy, import-linter
	@$(SETUP) test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fix: ## format, and fix what ruff can
	@$(SETUP) test
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: ## nijika beside a plain DRF + Celery app, as ratios
	@$(SETUP) test
	@$(BIN)/python -m bench

bench-images: ## cut-outs, resizing and pictures on the fly, as scores and ratios
	@$(SETUP) test
	@$(BIN)/python -m bench.cutout
	@$(BIN)/python -m bench.imaging
	@$(BIN)/python -m bench.onthefly

bench-delivery: ## submits beside 500 that wait or follow, webhooks beside 100 dead ones
	@$(SETUP) test
	@$(BIN)/python -m bench.delivery

bench-gpu: ## the engines' networks at full size on this machine's GPU
	@$(SETUP) engines
	@.venv-engines/bin/python -m bench.gpu birefnet sam2 qwen

gallery: ## every operation on real photos, on one page
	@$(SETUP) test
	@$(BIN)/python -m bench.gallery

screenshots: ## the README's pictures of the pages, in docs/screenshots
	@$(SETUP) test
	@$(BIN)/python -m tests.browser.screenshots

chaos: ## ten minutes of kills, stops and flushes under load
	@$(SETUP) test
	@$(BIN)/python -m tests.chaos

mutants: ## take each guard out; a test must then fail
	@$(SETUP) test
	@$(BIN)/python -m tests.mutants

lock: ## write the lock files anew from pyproject.toml (needs uv)
	@$(PYTHON) nijika/local/lock.py
