# make demo | test | long | lint | setup | graph
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test long lint setup importable graph wheel clean

# Small trainings use one core each, so JOBS of them run side by side, the longest (train@multimodal) first; `dvc repro` then
# finds them done and does the rest.
JOBS ?= 2
demo: export PATH := $(BIN):$(PATH)
demo: setup
	dvc repro pool
	dvc stage list --name-only | grep @ | sort -r | xargs -P $(JOBS) -n 1 env TERM=dumb dvc -q --wait-for-lock repro --single-item
	dvc repro
	@echo
	@python -c "import json; m = json.load(open('metrics/fuse.json')); print(f'fused accuracy {m[\"top1\"]:.1%} on {m[\"clips\"]:.0f} test clips')"
	@echo "The report: $(CURDIR)/report/index.html"

# One thread per test process: two cores run two processes. A file's tests go to one of them, so that what they share is
# made once.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# The tests of minutes, about a quarter of an hour.
long: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m long

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(READY)

# mmpose declares chumpy, which does not build on a new machine and is not imported; so --no-deps is used.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 12) else f"Python 3.10 to 3.12 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[pose-networks,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt mmpose==1.1.0
	@$(MAKE) --no-print-directory importable
	@touch $(READY)

# Python started above a clone that is called hpnet takes the clone itself for the package (a namespace package, in which
# hpnet.metrics is metrics/), because setuptools' finder for editable installs comes after Python's own. A path does not.
importable:
	@$(BIN)/python -c 'import sysconfig; open(sysconfig.get_path("purelib") + "/hpnet-clone.pth", "w").write("$(CURDIR)\n")'

# dvc.yaml is a rendering of hpnet/project/graph.py.
graph: setup
	$(BIN)/python -m hpnet.project.dvc_yaml > dvc.yaml

# What an earlier build left would go into the wheel, and its metadata would be read in place of the installed one's.
wheel: setup
	rm -rf build hpnet.egg-info
	$(BIN)/python -m pip wheel --quiet --no-deps -w dist .
	rm -rf build hpnet.egg-info

clean:
	rm -rf artifacts .work report dist build
