# `make demo` predicts videos, `make test` runs the tests, `make check` is what CI runs.
# Needed: Python 3.11 or newer with pip. Everything else is installed into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TORCH  := torch==2.13.0
# Tests run in two processes, whole files each; PYTEST_OPTIONS="-n 0" runs them in one.
PYTEST_OPTIONS ?=
TESTS  := $(BIN)/python -m pytest -n 2 --dist loadfile
CODE   := src tests benchmarks examples

.PHONY: help setup demo test check format clean

help:
	@echo "make setup    install everything into $(VENV), for development"
	@echo "make demo     install what prediction needs, then predict videos with the shipped model"
	@echo "make test     setup, then the tests; those that need a GL library or Chromium are skipped without it"
	@echo "make check    setup, then formatting, lint, import rules and tests: what CI runs"
	@echo "make format   setup, then let ruff format and tidy the code"
	@echo "make clean    remove $(VENV) and every cache"

setup: $(VENV)/dev.stamp

demo: $(VENV)/core.stamp
	$(BIN)/aid tabletop demo

test: $(VENV)/dev.stamp
	$(TESTS) $(PYTEST_OPTIONS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/lint-imports --no-logo
	$(TESTS) $(PYTEST_OPTIONS)

format: $(VENV)/dev.stamp
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so a broken installation is repeated; so is one after pyproject.toml
# changed. Some systems ship Python without ensurepip: there the system's pip installs into the venv.
$(VENV)/core.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed. Say which: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
		{ $(PYTHON) -m venv --clear --without-pip $(VENV) && \
		  $(PYTHON) -m pip --python $(BIN)/python install pip; }
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install '$(TORCH)'
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp pyproject.toml
	$(BIN)/python -m pip install -e '.[dev,tabletop,data,report,web,eight-bit]'
	touch $@
