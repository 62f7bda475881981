# One command for each thing you would want to do. All of them prepare .venv first; that is quick when nothing changed.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python

# Tests run in as many processes as there are processors. `make test PYTEST_ARGS=-x` adds an argument.
WORKERS     ?= auto
PYTEST_ARGS ?=
# What `make run` adds: --faults, --web-port 8000, --smtp-port 1025.
RUN_ARGS    ?=

lists  = $(foreach name,$(1),requirements/$(name).txt)
# The stamp's name holds a checksum of what was installed, so a changed pin makes a new stamp due.
stamp  = $(VENV)/.installed-$(1)-$(shell cat $(2) | cksum | tr -d ' ')
MAIN   := $(call lists,build django52 service test dev)
SETUP  := $(call stamp,main,$(MAIN) pyproject.toml)
DOCS   := $(call stamp,docs,$(call lists,docs))
BENCH  := $(call stamp,bench,$(call lists,bench))

.DEFAULT_GOAL := help
.PHONY: help setup demo run test test-library test-service coverage lint docs bench bench-quick clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(SETUP) ## Make .venv, or bring it up to date

demo: $(SETUP) ## Watch an e-mail survive a dead DNS and a dropped connection; ends by itself
	@$(PY) -m demo

run: $(SETUP) ## Start the same service and stay
	@$(PY) -m demo --stay $(RUN_ARGS)

test: test-library test-service ## Run all tests

test-library: $(SETUP) ## Run the library's tests
	$(PY) -m pytest tests --ignore=tests/service -n $(WORKERS) $(PYTEST_ARGS)

test-service: $(SETUP) ## Run the reference service's tests
	$(PY) -m pytest tests/service --ds=e_commerce_api.settings -n $(WORKERS) $(PYTEST_ARGS)

coverage: $(SETUP) ## Run all tests and hold their coverage against the limits
	@mkdir -p .cache && rm -f .cache/coverage*
	$(PY) -m coverage run -m pytest tests --ignore=tests/service -q -n $(WORKERS) $(PYTEST_ARGS)
	$(PY) -m coverage run -m pytest tests/service --ds=e_commerce_api.settings -q -n $(WORKERS) $(PYTEST_ARGS)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report --fail-under=95
	$(PY) -m coverage report --fail-under=100 \
		--include='*/smtp/protocol/*,*/smtp/outcome.py,*/smtp/retry.py'

lint: $(SETUP) ## Check style, types and who imports whom
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo --cache-dir .cache/import-linter

docs: $(SETUP) $(DOCS) ## Build the documentation into docs/_build/html; a warning is an error
	$(PY) -m sphinx --fail-on-warning --keep-going --builder html -d docs/_build/doctrees docs docs/_build/html

bench: $(SETUP) $(BENCH) ## Measure against the peers, in under 15 minutes
	$(PY) -m benchmarks

bench-quick: $(SETUP) $(BENCH) ## The same in two minutes, with fewer repetitions
	$(PY) -m benchmarks --quick

clean: ## Remove everything that these targets made
	rm -rf $(VENV) .cache .nox .hypothesis build dist docs/_build

$(SETUP):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=...")'
	@echo "Setting up $(VENV): a minute or two the first time ..."
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes $(MAIN:%=-r %)
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-main-* && touch $@

$(DOCS): $(SETUP)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@rm -f $(VENV)/.installed-docs-* && touch $@

$(BENCH): $(SETUP)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/django52.txt -r requirements/bench.txt
	@rm -f $(VENV)/.installed-bench-* && touch $@
