# `make run` and `make test` need nothing but a clone: they set up what is missing first.

# The first Python on PATH that is new enough.
python = $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
    $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    && { echo $$name; break; }; done)

bin := .venv/bin
native_sources := $(wildcard native/build.py native/core.cdef.h native/src/*.c native/src/*.h)
python_folders := $(wildcard native peer signalling integrations bench tests setup.py)
c_files := native/core.cdef.h \
    $(wildcard native/src/*.[ch] tests/c/*.[ch] tests/fuzz/*.[ch] bench/tools/*.[ch] \
    bench/link/*.[ch] bench/session/*.[ch])
in_native := $(MAKE) --no-print-directory -C native PYTHON=$(CURDIR)/$(bin)/python
jobs := -j$(shell nproc)

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test lint format bench native-debug fuzz clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.run-is-set-up ## Install what running needs: system packages, and .venv

setup-dev: .venv/.dev-is-set-up ## … and what testing needs

run: setup ## Stream: the display of $DISPLAY, or a game on a display of its own. ARGS="--help"
	@exec $(bin)/playcast host $(ARGS)

test: setup-dev ## Pass every test. ARGS="tests/peer -x"
	$(bin)/python -m pytest $(ARGS)

lint: setup-dev ## Formatting, lint, types, and strict warnings in C
	$(bin)/ruff check $(python_folders)
	$(bin)/ruff format --check $(python_folders)
	$(bin)/mypy
	$(bin)/python -m signalling.schema --check
	$(bin)/python -m signalling.tables --check
	clang-format --dry-run -Werror $(c_files)
	$(in_native) $(jobs) --silent strict

format: setup-dev ## Format Python and C
	$(bin)/ruff format $(python_folders)
	$(bin)/ruff check --fix $(python_folders)
	clang-format -i $(c_files)

bench: setup-dev ## Run every benchmark, quickly. Results in bench/results. ARGS="--runs 5"
	$(bin)/python -m bench $(ARGS)

native-debug: setup-dev ## The C tests plain, and under ASan, UBSan and TSan
	@for variant in test asan tsan; do $(in_native) $(jobs) --silent $$variant || exit 1; done

fuzz: setup-dev ## Fuzz each target for FUZZ_SECONDS (600)
	@$(in_native) $(jobs) --silent fuzz

clean: ## Remove everything that was made
	rm -rf .venv build dist *.egg-info native/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.system-run: infra/apt-run.txt infra/apt-install
	@infra/apt-install infra/apt-run.txt
	@mkdir -p $(@D) && touch $@

.venv/.system-dev: infra/apt-test.txt .venv/.system-run
	@infra/apt-install infra/apt-test.txt
	@touch $@

.venv/.is-made: .venv/.system-run
	@test -n "$(python)" || { echo "No Python 3.11 or newer was found on PATH: install one, \
	for example with \`apt-get install python3\`."; exit 1; }
	$(python) -m venv .venv
	$(bin)/python -m pip install -q "setuptools>=77" "cffi~=2.0"
	@touch $@

# Without build isolation, so that a change in C is compiled without asking a package index.
.venv/.run-is-set-up: .venv/.is-made pyproject.toml setup.py $(native_sources)
	$(bin)/python -m pip install -q --no-build-isolation -e .
	@touch $@

.venv/.dev-is-set-up: .venv/.system-dev .venv/.run-is-set-up
	$(bin)/python -m pip install -q --no-build-isolation -e ".[dev]"
	@touch $@
