# Needs Python 3.11 or 3.12, make and a package index; everything else is set up by itself.
# The first of these that runs and has the right version; a name alone may be a shim of another one.
RIGHT := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for name in python3.11 python3.12 python3 python; do \
	$$name -c '$(RIGHT)' >/dev/null 2>&1 && echo $$name && exit; done; echo python3)
BIN := .venv/bin
# What needs no server, no browser and no second environment.
SERVERS := tests/e2e tests/browser tests/machines tests/benchmarks tests/scripts
QUICK := $(filter-out $(SERVERS) tests/fixtures,$(patsubst %/,%,$(wildcard tests/[a-z]*/))) $(wildcard tests/test_*.py)
UNIT = $(BIN)/python -m pytest -n 2 --dist worksteal --durations=20 $(QUICK)
WITH_SERVERS = $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=20 $(SERVERS)
# Files in which every test is slow; their libraries take long to load, too.
SLOW := $(shell grep -lr '^pytestmark = pytest.mark.slow' tests --include='test_*.py')
# Where bytecode is not kept, each of the many processes of the tests compiles everything again.
unexport PYTHONDONTWRITEBYTECODE
# When make began, so that the demo can say how long the whole set-up took.
STARTED := $(shell date +%s)

.PHONY: help demo demo-check run test quick lint types tests unit servers setup clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: setup .venv-label-studio/.ready ## Label Studio (LABEL_STUDIO_PORT) with sample sounds, backend (PORT)
	@DEMO_STARTED_AT=$(STARTED) $(BIN)/python -m scripts.demo

demo-check: setup .venv-label-studio/.ready ## The demo without hands: annotate, retrain, compare
	@DEMO_STARTED_AT=$(STARTED) $(BIN)/python -m scripts.demo --check

run: setup ## The backend alone, for any Label Studio
	@$(BIN)/earmark up

# mypy takes what the tests leave of the cores; what it found is said again at the end of a run that failed.
# Unit tests beside those with servers gain nothing: two cores are busy for 95 % of the time with either.
test: lint .venv-label-studio/.ready ## Everything that is checked: ruff, mypy, pytest with a real Label Studio
	@$(MAKE) --no-print-directory --jobs=2 types tests || \
		{ $(MAKE) --no-print-directory types; exit 1; }

quick: setup ## Unit tests alone, side by side: no Label Studio, no second environment, no slow ones
	$(BIN)/python -m pytest -n 2 --dist loadfile -q -m "not slow" --hypothesis-profile=quick \
		$(addprefix --ignore=,$(SLOW)) $(QUICK)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports pyproject.toml --no-cache

types: setup
	nice $(BIN)/mypy

tests: setup .venv-label-studio/.ready
	$(UNIT); unit=$$?; $(WITH_SERVERS) && exit $$unit

unit: setup
	$(UNIT)

servers: setup .venv-label-studio/.ready
	$(WITH_SERVERS)

setup: .venv/.ready

.venv/.ready: requirements-dev.txt requirements.txt requirements-no-deps.txt pyproject.toml
	@$(PYTHON) scripts/make_environment.py .venv $< "the backend, about 2 GB" requirements-no-deps.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/earmark weights yamnet || echo "  Set-up goes on: the weights are fetched on first use."
	@touch $@

.venv-label-studio/.ready: requirements-label-studio.txt
	@$(PYTHON) scripts/make_environment.py .venv-label-studio $< "Label Studio, about 1 GB"
	@touch $@

.venv-label-studio: .venv-label-studio/.ready ## Label Studio's own virtual environment

clean: ## Remove both virtual environments and caches; data stays
	rm -rf .venv .venv-label-studio .mypy_cache .ruff_cache .pytest_cache .hypothesis
