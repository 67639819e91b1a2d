# Openline: `make run` starts the chat, `make test` runs every check. `make help` lists the rest.

HOST ?= 127.0.0.1
PORT ?= 8000
PYTHON ?= python3
ROWS ?=
QUICK ?=
PURE ?=
RESUME ?=
EFFORT ?= 20
SECONDS ?= 20
SEEDS ?= 8
TRIALS ?= 3
SEED ?=
FAULTS ?=
ENGINES ?=
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test lint fuzz chaos bench scale foundation kills clean

help: ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: $(VENV)/installed ## Start the chat on http://127.0.0.1:8000 (HOST, PORT override)
	@exec $(BIN)/openline demo --host $(HOST) --port $(PORT)

test: $(VENV)/installed ## Set up what the tests need, and run all of them (PURE=1 without the native part)
	@$(if $(PURE),OPENLINE_PURE=1) $(BIN)/python tests/run.py

lint: $(VENV)/installed ## Only lint, types and import contracts
	@$(BIN)/python tests/run.py lint

chaos: $(VENV)/installed ## Try the promises under faults (SECONDS=20, TRIALS=3, SEED=, FAULTS=kill,cut, ENGINES=sqlite,redis)
	@$(BIN)/python tests/run.py packages && $(BIN)/python -m tests.chaos --seconds $(SECONDS) --trials $(TRIALS) $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(ENGINES),--engines $(ENGINES))

foundation: $(VENV)/installed ## Measure fan-out and memory against the C limit and ws
	@$(BIN)/python bench/foundation.py

fuzz: $(VENV)/installed ## Everything random, EFFORT times as often as in `make test` (20)
	@OPENLINE_EFFORT=$(EFFORT) $(BIN)/python tests/run.py fuzz

bench: $(VENV)/installed ## Measure every goal beside the peers, 40 minutes at most (ROWS=fanout,echo, QUICK=1, RESUME=1)
	@$(BIN)/python bench/run.py --rows "$(ROWS)" $(if $(QUICK),--quick) $(if $(RESUME),--resume) $(if $(ROUNDS),--rounds $(ROUNDS))

kills: $(VENV)/installed ## Kill nodes of Openline and of its peers alike, and count what is lost and doubled (SEEDS=8)
	@$(BIN)/python tests/run.py packages && $(BIN)/python bench/kills.py --seeds $(SEEDS)

scale: $(VENV)/installed ## Measure 20,000 clients on four nodes and Redis beside C limits, 8 minutes at most (QUICK=1)
	@$(BIN)/python bench/scale.py $(if $(QUICK),--quick)

clean: ## Remove everything that the other targets made
	rm -rf $(VENV) node_modules src/openline/web/socketio bench/build bench/results .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Made anew when what it was made from has changed, so that a second start takes a moment.
$(VENV)/installed: pyproject.toml setup.py setup.sh $(wildcard src/openline/_native*.[ch]) fetch_client.sh package.json
	@sh setup.sh $(PYTHON) $(VENV)
	@touch $@
