# `make demo` and `make test` work on a machine that has only Python 3.11+ and PyPI: the first call makes .venv.
.DEFAULT_GOAL := help
.PHONY: help demo test check bench clean upstream-tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := src tests benchmarks setup.py $(wildcard examples/scripts)

export HF_HUB_OFFLINE := 1
export TRANSFORMERS_OFFLINE := 1
# Tiny models: more threads per process only get in each other's way.
export OMP_NUM_THREADS := 1
export TOKENIZERS_PARALLELISM := false
export WANDB_MODE := disabled

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-16s%s\n", $$1, $$2}'

$(STAMP): setup.py pyproject.toml constraints/train.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints/train.txt --editable '.[train,dev]'
	@touch $@

demo: $(STAMP)  ## CITI on the embedded tiny model, with the report before and after
	$(BIN)/llamafactory-ext lab demo

test: $(STAMP)  ## Run the tests
	$(BIN)/python -m pytest

check: $(STAMP)  ## Linter, formatter and type checker
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

bench: $(STAMP)  ## Measure speed and memory on one CPU core, under 15 minutes; the table lands in benchmarks/README.md
	$(BIN)/python benchmarks/run.py --out benchmarks/results/cpu.json --readme

upstream-tests: $(STAMP)  ## LLaMA-Factory's own tests, with and without the extension
	$(BIN)/python tests/contracts/upstream_suite.py

clean:  ## Remove the virtual environment, caches and runs
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache build dist src/*.egg-info runs
