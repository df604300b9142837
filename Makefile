# Two commands do all the set-up: `make demo` and `make test`. Nothing but Python 3.11+ and make is needed before either.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCE ?= synthetic
SPEED ?= 1
SEED ?= 7
DURATION ?= 0

KILLS ?= 50
RUNS ?= 10

.PHONY: demo test check chaos bench gateway lock clean

demo: $(VENV)/run.stamp ## the whole desk on this machine: SOURCE=, SPEED=, SEED=, DURATION=, SECURE=1
	@$(BIN)/python -m app demo --source "$(SOURCE)" --speed $(SPEED) --seed $(SEED) --duration $(DURATION) $(if $(SECURE),--secure)

test: $(VENV)/dev.stamp ## every test, on real Kafka and real workers
	@$(BIN)/python -m pytest

check: $(VENV)/dev.stamp ## the fast inner loop: style, types, layers, unit and property tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -m "not stack and not slow"

chaos: $(VENV)/dev.stamp ## the long campaign of kill -9 and frost on real Kafka, its controls, and each crash point: KILLS=, RUNS=, SEED=, TRANSPORT=single
	@$(BIN)/python -m tests.chaos.campaign --kills $(KILLS) --seed $(SEED) --transport $(or $(TRANSPORT),batched)
	@$(BIN)/python -m tests.chaos.campaign --control --seed $(SEED)
	@$(BIN)/python -m tests.chaos.crash_points --runs $(RUNS) --seed $(SEED)

bench: $(VENV)/dev.stamp ## the order-flow job side by side with other stream processors; writes docs/reference/benchmarks.md
	@$(BIN)/python -m benchmarks.ofi_job

gateway: $(VENV)/run.stamp ## the simulated IB Gateway alone: PORT=
	@$(BIN)/python -m connectors.gateway --port $(or $(PORT),4002)

$(BIN)/uv: requirements-bootstrap.lock
	@$(PYTHON) -c 'import sys; sys.exit("flowgate needs Python 3.11 or newer; run make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock \
	  2>$(VENV)/setup.log || { $(offline); }

# The tests' packages contain the desk's own, so a folder made for the tests serves the demo too.
$(VENV)/run.stamp: requirements.lock $(BIN)/uv
	@if [ ! -e $(VENV)/dev.stamp ]; then $(call sync,requirements.lock); fi
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(BIN)/uv
	@$(call sync,requirements-dev.lock)
	@touch $(VENV)/run.stamp $@

offline = echo "cannot download the packages (details in $(VENV)/setup.log); connect to the network and run it again" >&2; exit 1

define sync
	echo "installing the packages of $(1) (first run only: about 300 MB to download)"; \
	$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python $(1) \
	  2>$(VENV)/setup.log || { $(offline); }
endef

lock: $(BIN)/uv ## pin the dependencies of pyproject.toml again, with hashes
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --python-version 3.11 pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --python-version 3.11 --extra dev pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) build var .mypy_cache .ruff_cache .pytest_cache .hypothesis
