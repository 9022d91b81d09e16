# Every target sets up .venv first when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup quickstart serve test lint format constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with everything pinned

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "mtd-ray needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	DS_BUILD_OPS=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

quickstart: $(READY) ## three teachers → one student, end to end on this machine (about ten minutes)
	$(BIN)/python -m mtd_ray.sandbox.quickstart

serve: $(READY) ## serve the quickstart's student on 127.0.0.1:8000 until Ctrl-C
	$(BIN)/python jobs/serve.py out/quickstart/student

lint: $(READY) ## style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## lint, then every test
	$(BIN)/python -m pytest

format: $(READY) ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: ## refresh constraints.txt from the newest versions that satisfy pyproject.toml
	rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	DS_BUILD_OPS=0 build/constraints/bin/python -m pip install --quiet '.[dev]'
	build/constraints/bin/python -m pip freeze --exclude mtd-ray | sed -E 's/^torch==([0-9]+\.[0-9]+).*/torch==\1.*/' > constraints.txt

clean: ## remove what the quickstart and the tests left (not .venv)
	rm -rf .quickstart out build .pytest_cache .mypy_cache .ruff_cache
