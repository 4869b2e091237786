# make demo | test | lint | setup
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint setup wheel clean

demo: setup
	PATH="$(BIN):$$PATH" dvc repro
	@echo
	@PATH="$(BIN):$$PATH" dvc metrics show metrics/fuse.json --md --precision 3
	@echo "The report: $(CURDIR)/report/index.html"

# One thread per test process: two cores run two processes.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(READY)

# mmpose declares chumpy, whose build fails on a fresh machine and which nothing in it imports: hence --no-deps.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 12) else f"Python 3.10 to 3.12 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mmpose,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt mmpose==1.1.0
	@touch $(READY)

wheel: setup
	$(BIN)/python -m pip wheel --quiet --no-deps -w dist .

clean:
	rm -rf artifacts .work report dist build
