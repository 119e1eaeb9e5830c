# Every target makes what it needs: .venv is built from the lock file on first use.
SHELL := /bin/sh
# A distribution's Python is compiled with profile feedback, which most that are built on a machine
# are not: about a tenth less CPU for each request (docs/benchmark.md).
PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo /usr/bin/python3 || echo python3)
SECONDS ?= 60
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test properties fuzz check serve bench bench-json prove prove-json simulate lock format \
	clean

demo: $(STAMP)          ## run the twenty-step workflow through a real gateway
	@$(BIN)/fairlead demo

test: $(STAMP)          ## the whole test suite
	@$(BIN)/pytest -q -n auto --dist loadfile

properties: $(STAMP)    ## the state machines, 20,000 steps each and more, never twice the same
	@HYPOTHESIS_PROFILE=long $(BIN)/pytest -q -n 2 --dist load tests -k properties

fuzz: $(STAMP)          ## WHAT=sse SECONDS=60 RUNS=...: bytes that nobody would send, for as long as one likes
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r fuzz/requirements.lock
	@$(BIN)/python -m fuzz $(WHAT) --seconds $(SECONDS) $(if $(RUNS),--runs $(RUNS))

check: $(STAMP)         ## format, lint, types, floors
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pytest -q tests/test_floors.py

serve: $(STAMP)         ## serve with what is found on this machine
	@$(BIN)/fairlead serve

bench: $(STAMP)         ## CPU per request against nginx, three rounds, medians
	@$(BIN)/python -m bench

bench-json: $(STAMP)
	@$(BIN)/python -m bench --json

prove: $(STAMP)         ## prove what is promised, at length; WHAT=... for one of them
	@$(BIN)/python -m prove $(WHAT)

prove-json: $(STAMP)
	@$(BIN)/python -m prove --json $(WHAT)

simulate: $(STAMP)      ## 100,000 simulated worlds; SEEDS=... how many, FROM=... the first
	@$(if $(SEEDS),SEEDS=$(SEEDS)) $(if $(FROM),FROM=$(FROM)) $(BIN)/python -m prove --json simulate

format: $(STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(STAMP)          ## resolve pyproject.toml anew, with hashes
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --extra demo --group dev pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --group pyproject.toml:fuzz -o fuzz/requirements.lock

clean:
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache

$(STAMP): requirements.lock pyproject.toml
	@echo "installing into .venv (first run: about half a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Fairlead needs Python 3.11 or newer; set PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv \
		|| { echo "python3-venv is missing: install your system's package for it" >&2; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
