.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: help demo ui test chaos pictures check audit bench lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/installed ## run the main job against a simulated WMS and a Prefect server of its own
	@$(BIN)/python -m demo

ui: .venv/installed ## the demo, left standing with its Prefect UI until Ctrl-C
	@$(BIN)/python -m demo --keep

# Two processes, and no more on more cores: each has a Prefect server and a PostgreSQL of its own to start.
test: .venv/installed ## the tests
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

pictures: .venv/installed ## the pictures of docs/, made anew by the tests of the UI
	@PICTURES=docs $(BIN)/python -m pytest tests/ui

chaos: .venv/installed ## each fault by force, in its long form, and what it cost
	@$(BIN)/python -m pytest tests/chaos --long

check: .venv/installed ## lint, types, known advisories, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(MAKE) --no-print-directory audit
	@$(MAKE) --no-print-directory test

PEERS := benchmarks/.venv-peers

$(PEERS)/installed: benchmarks/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --requirement $<
	@touch $@

bench: .venv/installed $(PEERS)/installed ## measure ours beside dlt, Airbyte CDK and singer-sdk, into benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks

audit: .venv/installed ## the pins against the known advisories, where they can be asked for
	@$(BIN)/python .ci/audit.py

lock: .venv/installed ## pin requirements.txt anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
		--output-file requirements.txt
	$(BIN)/uv pip compile benchmarks/requirements.in --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
		--output-file benchmarks/requirements.txt

clean: ## remove what the targets made
	rm -rf .venv .demo $(PEERS)
