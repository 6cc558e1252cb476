# setup: .venv with everything   demo: the worked example   test: all tests   check: format, lint, types, imports
# bench: figures as ratios   model: search the exactly-once protocol at length   power: cut the power at every write
# fuzz, mutants: the wallets' protocols, 100 000 cases a kind, and what their tests would notice (an hour).
# crash: kill the daemon at every crash point, in every story, with every fault (2886 runs, 24 min on two busy cores;
# ARGS='--jobs 2 --only redeem --sample 100 --seed 7').   soak: two tills sell for SECONDS, one killed every 10 s;
# before that, tills asleep for longer than their lease (the suite has them frozen in the crash matrix).
# Needs Python >= 3.11, make and (on Debian, for what is missing) apt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test check format bench model crash soak power mutants fuzz docs clean

setup: $(VENV)/.ready

# What pip cannot bring: a compiler and headers for pyscard; for the tests a real pcscd with virtual slots, a
# PostgreSQL server and a pooler.
DEBIAN := python3-venv python3-dev gcc swig pkg-config libpcsclite-dev pcscd vsmartcard-vpcd postgresql pgbouncer

$(VENV)/.ready: pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tilltap needs Python 3.11 or newer: make PYTHON=python3.11 setup"; exit 1; }
	@command -v dpkg-query >/dev/null || { echo "not Debian: if a step fails, install your system's $(DEBIAN)"; exit 0; }; \
	  missing=$$(for p in $(DEBIAN); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q ' installed' || echo $$p; done); \
	  [ -z "$$missing" ] || { echo "installing" $$missing; \
	    SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	    { $$SUDO apt-get update -q && $$SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; } >/tmp/tilltap-apt.log 2>&1 \
	      || { tail -5 /tmp/tilltap-apt.log; exit 1; }; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup
	$(BIN)/tilltap demo

test: check
	$(BIN)/python -m pytest --numprocesses 2

check: setup
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: setup
	$(BIN)/python tests/bench/run.py

model: setup
	cd tests && ../$(BIN)/python -m model.explore --long

crash: setup
	cd tests && ../$(BIN)/python -m crash $(ARGS)

SECONDS ?= 600
soak: setup
	$(BIN)/python -m pytest -m long -o faulthandler_timeout=0 tests/e2e/test_suspend.py
	cd tests && ../$(BIN)/python -m crash.soak --seconds $(SECONDS) $(ARGS)

power: setup
	$(BIN)/python -m pytest -s -m long -o faulthandler_timeout=0 tests/e2e/test_power.py

mutants: setup
	$(BIN)/python tests/tools/mutate.py

fuzz: setup
	$(BIN)/python -m pytest -m long -o faulthandler_timeout=0 tests/drivers/nfc

docs: setup
	$(BIN)/python -m tilltap.config.document

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
