# make lab    set up, then open JupyterLab on the lecture
# make test   set up, then run every check and test
#
# PYTHON=python3.12   which Python (3.11 or 3.12) a new environment uses
# GPU=1               TensorFlow with CUDA libraries instead of the CPU one

SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
EXTRA := $(if $(GPU),gpu,cpu)
BIN := .venv/bin
# A worker per core; each file's tests stay on one worker, in the order that conftest.py gives.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
NBVAL := --nbval-lax --nbval-current-env
STAMP := .venv/.made-$(EXTRA)

.PHONY: help setup lab test lint types unit notebooks format doctor clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

setup: $(STAMP)

$(STAMP): pyproject.toml uv.lock tools/bootstrap.py
	@test -n "$(PYTHON)" || { echo "expected Python 3.11 or 3.12 on the PATH, found none" >&2; exit 1; }
	$(PYTHON) tools/bootstrap.py --extra $(EXTRA)
	@rm -f .venv/.made-*
	@touch $@

lab: setup
	$(BIN)/course lab

doctor: setup
	$(BIN)/course doctor

test: lint types
	$(PYTEST) $(NBVAL) --durations=25 tests notebooks

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit: setup
	$(PYTEST) --durations=25 tests

notebooks: setup
	$(PYTEST) $(NBVAL) --durations=10 notebooks

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .uv build
