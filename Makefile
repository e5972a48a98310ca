# Everything a newcomer needs: `make demo`, `make test`, `make serve`. Each installs first what it needs.
# The system's own Python is usually the faster build (docs/performance.md).
CAN_INSTALL = import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell /usr/bin/python3 -c '$(CAN_INSTALL)' 2>/dev/null && echo /usr/bin/python3 || echo python3)
BIN := .venv/bin

.PHONY: help install demo demo-recording serve test check format lock openapi bench-turns bench-streams bench-api bench-search chaos secrets clean

N ?= 20

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 16

install: .venv/installed  ## make .venv with everything in it, from the locked requirements

.venv/installed: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c '$(CAN_INSTALL)' || { echo "Python 3.11 or newer with venv is needed; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install  ## a panel of three agents discusses a memo, live in the terminal
	$(BIN)/arena demo

demo-recording: install  ## remake examples/recordings, after a change of what the demo's agents are asked
	folder=$$(mktemp -d /tmp/arena-demo-XXXXXX) && chmod 755 $$folder && \
	  ARENA_DATA_DIR=$$folder ARENA_RECORD=$$folder/recorded $(BIN)/arena demo && \
	  mkdir -p examples/recordings && cat $$folder/recorded/local-smollm2-135m.jsonl > examples/recordings/demo.jsonl; \
	  status=$$?; rm -rf $$folder; exit $$status

serve: install  ## the product on this machine
	$(BIN)/arena serve

.venv-semgrep/installed: requirements-semgrep.lock
	@rm -rf .venv-semgrep
	@{ $(PYTHON) -m venv .venv-semgrep && \
	  .venv-semgrep/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	    -r requirements-semgrep.lock && touch $@; } || \
	  { rm -rf .venv-semgrep; echo "semgrep cannot be installed here; the tests with our rules are skipped"; }

test: install .venv-semgrep/installed  ## the whole test suite, on its own PostgreSQL and Valkey
	$(BIN)/python -m pytest -m "not alone"
	$(BIN)/python -m pytest -m alone -n 0

check: install  ## style, types, layers, migrations, the committed OpenAPI document
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/arena check-migrations
	$(BIN)/arena openapi --check docs/openapi.json

format: install  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

openapi: install  ## write docs/openapi.json from the code
	$(BIN)/arena openapi docs/openapi.json

bench-turns: install  ## what a turn costs, beside the floor of the same run; one JSON line last
	$(BIN)/python -m bench.turns

bench-streams: install  ## what live streams cost, beside a bare fan-out of the same run; one JSON line last
	$(BIN)/python -m bench.streams

bench-api: install  ## what a request costs, beside a bare FastAPI route of the same run; one JSON line last
	$(BIN)/python -m bench.api

bench-search: install  ## what search costs (CHUNKS=5000: a smaller try); BEIR=DIR: how well it finds; one JSON line last
	$(BIN)/python -m bench.search $(if $(CHUNKS),--chunks $(CHUNKS)) $(if $(BEIR),--beir "$(BEIR)")

chaos: install  ## kill N workers at random (N=200 takes 10 minutes) and count what is lost; one JSON line last
	$(BIN)/python -m bench.chaos --kills $(N) $(if $(SEED),--seed $(SEED))

secrets: install  ## note in .secrets.baseline what looks like a secret and is none
	$(BIN)/detect-secrets scan --baseline .secrets.baseline

lock:  ## resolve the requirements anew (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --group dev --all-extras pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url pyproject.toml -c requirements-dev.lock -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url requirements-semgrep.in -o requirements-semgrep.lock

clean:  ## remove what make made
	rm -rf .venv .venv-semgrep .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
