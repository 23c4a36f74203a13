# `make run`: set everything up and run the example program.   `make test`: every check that CI runs.
# `make nightly`: the same with thousands of random cases for each law, and all faults put in by hand; hours.

.PHONY: help run test nightly
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
WORKERS ?= 2

help:
	@echo "make run    set up $(VENV) and run programs/snake_game.sem on the embedded default model"
	@echo "make test   set up what is missing, then lint, type-check and test everything"
	@echo "make nightly  make test with thousands of random cases for each law, then all mutants (hours)"

run: $(VENV)/run.stamp
	$(BIN)/semc run programs/snake_game.sem

test: export OMP_NUM_THREADS := 1
test: $(VENV)/test.stamp build/typing/semlang/.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy build/typing/semlang tests
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -n $(WORKERS) -q

nightly: export HYPOTHESIS_PROFILE := nightly
nightly: export SEMC_LAW_EXAMPLES := 300
nightly: test
	$(BIN)/python tests/mutants/run.py

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Semlang needs Python 3.11 or newer; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: pyproject.toml $(VENV)/python.stamp
	$(BIN)/pip install -q "$(TORCH)"
	$(BIN)/pip install -q -e ".[torch]"
	@touch $@

$(VENV)/test.stamp: pyproject.toml $(VENV)/run.stamp
	$(BIN)/pip install -q -e ".[torch,rca,test]"
	@touch $@

# mypy cannot see through an editable install; a tree of links named `semlang` shows it the package.
build/typing/semlang/.stamp: Makefile
	@mkdir -p $(@D)
	@for part in __init__.py __main__.py py.typed backend cli frontend ir kernels passes programs report; do \
		ln -sfn ../../../$$part $(@D)/$$part; done
	@touch $@
