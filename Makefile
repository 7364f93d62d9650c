# Everything a developer types.  Needs python3 (3.11 or newer, with venv) and make; the rest is
# put into .venv, which is made anew when pyproject.toml changes.
#
#   make run     serve ./incoming on http://127.0.0.1:8080/   (ARGS="--set server.port=8081")
#   make test    the whole suite                              (ARGS="tests/test_config.py -x")
#   make wander  the same, its properties tried with other examples each time
#   make lint types format soak
#   make settings    after a setting was added: conf/uploadd.toml and docs/ anew
#   make bench   beside other servers, 5 minutes or less      (ARGS="large_tus downloads")
#   make bench-full    the same for long, with more rounds, on three kinds of disk
#   make bench ARGS=--clear    remove what both left on the disk

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DRAWS := $(VENV)/.draws

.PHONY: help run test wander soak lint types format settings bench bench-full

help:
	@sed -n 's/^#   //p' Makefile

run: $(READY)
	@mkdir -p incoming
	@exec $(BIN)/uploadd serve incoming $(ARGS)

# Hundreds of daemons are started: they do not each compile the program, whatever the shell says.
test soak: export PYTHONDONTWRITEBYTECODE :=

test: $(READY)
	$(BIN)/pytest -m "not long" -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

wander: $(READY)
	$(BIN)/pytest -m "not long" -n auto --dist loadfile --hypothesis-profile wander $(ARGS)

soak: $(READY)
	$(BIN)/pytest -m long $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

settings: $(READY)
	$(BIN)/uploadd config default >conf/uploadd.toml
	$(BIN)/python docs/diagrams.py

bench: $(DRAWS)
	$(BIN)/python -m bench $(ARGS)

bench-full: $(DRAWS)
	$(BIN)/python -m bench --form full $(ARGS)

# matplotlib is for the plots only, and large: whoever does not measure does not have to have it.
$(DRAWS): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

# Made from nothing each time, so that what pyproject.toml no longer names is really gone.
$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	    echo "make: no $(PYTHON) here; name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "make: uploadd needs Python 3.11 or newer, and $(PYTHON) is" \
	        "$$($(PYTHON) -V 2>&1); name a newer one: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo "make: $(PYTHON) has no venv module; Debian: apt install python3-venv" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
