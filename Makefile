# make install | demo | kafka | test | check | bench | clean; make install-dev is what test and check start with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PROJECT := pyproject.toml constraints.txt

.PHONY: install install-dev demo kafka test check bench clean

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "kwise-arena needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Install a newer one and name it: make $(or $(MAKECMDGOALS),install) PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

# Stamps: installed again only when the lists of packages have changed.
# --no-compile halves the time; Python compiles what it imports.
$(VENV)/.installed: $(PROJECT) | $(BIN)/python
	@echo "installing kwise-arena into $(VENV) ..."
	@$(PIP) install --no-compile --constraint constraints.txt --editable '.[dashboard,gateway]'
	@touch $@

$(VENV)/.installed-dev: $(PROJECT) | $(BIN)/python
	@echo "installing kwise-arena and its development tools into $(VENV) ..."
	@$(PIP) install --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $(VENV)/.installed $@

demo: install
	$(BIN)/kwise demo $(ARGS)

# One Kafka node at localhost:9092 until Ctrl-C; three: make kafka ARGS='--nodes 3'
kafka: install
	$(BIN)/python -m infra.kafka up $(ARGS)

# All default tests. Slow ones: make test ARGS='-m slow'.
test: install-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# Tests come last, so that their summary is the last line.
check: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

# Each benchmark prints its figures as one JSON object; quick ones: make bench ARGS=--quick
bench: install-dev
	@set -e; found=; for main in benchmarks/*/__main__.py; do \
	  [ -e "$$main" ] || continue; found=1; \
	  name=$$(basename "$$(dirname "$$main")"); echo "benchmarks.$$name"; \
	  $(BIN)/python -m "benchmarks.$$name" --json $(ARGS); \
	done; [ -n "$$found" ] || echo "no benchmarks found in benchmarks/"

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
