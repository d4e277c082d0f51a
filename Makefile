# make demo and make test work as the very first command: they create .venv and install what they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help install demo notebook test test-slow test-all test-oldest audit lint bench protocols clean
help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# torch first and exact: a range would fetch gigabytes of CUDA libraries.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(VENV)/.installed  ## create .venv and install snflow with its development tools

demo: install  ## the whole job on a small survey that snflow simulates itself
	$(BIN)/snflow demo

notebook: install  ## execute the example notebook into runs/classify.ipynb
	mkdir -p runs
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/jupyter execute --timeout=600 --output=../../runs/classify.ipynb data/examples/classify.ipynb

lint: install  ## formatting, lint, types, and the directions of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## lint, then the tests that take seconds
	$(BIN)/python -m pytest

test-slow: install  ## the tests that take minutes: whole commands, killed and resumed, real data, a browser
	$(BIN)/python -m pytest -m slow

test-all: test test-slow  ## every test

OLDEST := .venv-oldest
test-oldest: install  ## whether models give their stored answers on the oldest declared versions (downloads gigabytes)
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/oldest.txt --editable .
	$(BIN)/python -m tests.oldest $(OLDEST)/small-model
	$(OLDEST)/bin/snflow models verify $(OLDEST)/small-model
	$(OLDEST)/bin/snflow models verify

AUDIT := $(VENV)-audit
audit: install  ## whether everything is as pinned, and known vulnerabilities where they can be looked up
	test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9,<3'; } || true
	$(BIN)/python -m tests.audit $(AUDIT)/bin/pip-audit

bench: install  ## reading, preparing, training, classifying and evaluating speed, beside the machine's own
	$(BIN)/python -m tests.benchmarks

# Rows with few objects to learn from see them in smaller batches, and more often, and have boosted trees, as in `few`.
FEW := $(foreach row,P4 P5 P6 P7 P9 P11,--set $(row):fit.batch_size=32 --set $(row):fit.epochs=80) $(foreach row,P4 P5 P9 P11,--set $(row):fit.trees=0.3)
QUARTER := --set P3:fit.batch_size=64
ROWS ?= all
DRAWS ?= 5
MEMBERS ?= 1
protocols: install  ## the published protocols, five draws of each: make protocols STORE=catalogue REAL=snls (hours; resumable)
	$(BIN)/snflow protocols $(ROWS) --store $(STORE) --real $(REAL) --draws $(DRAWS) --members $(MEMBERS) --out runs/protocols $(FEW) $(QUARTER)

clean:  ## remove the virtual environment and caches; runs/ stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
