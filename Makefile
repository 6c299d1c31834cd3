.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: help install demo ui test real manifests chaos pictures check audit bench schema reference lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

RUNTIME := .venv-runtime

install: ## create a run-time environment in .venv-runtime, without the tools of developers
	$(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/pip install --quiet --constraint requirements.txt --editable .

demo: .venv/installed ## run the main job against a simulated WMS with its own Prefect server
	@$(BIN)/python -m demo

ui: .venv/installed ## run the demo and leave its Prefect UI up until Ctrl-C
	@$(BIN)/python -m demo --keep

# Three processes, also on two cores, as many tests wait: each starts its own Prefect server and PostgreSQL.
test: .venv/installed ## run the tests
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

pictures: .venv/installed ## renew the pictures in docs/ by running the UI tests
	@PICTURES=docs $(BIN)/python -m pytest tests/ui

chaos: .venv/installed ## run the long fault tests and report lost rows and recovery times
	@PROOF_EXAMPLES=100 $(BIN)/python -m pytest --long tests/chaos tests/steps/test_proof.py tests/steps/test_paging_proofs.py \
		tests/blocks/test_secrets_in_processes.py

check: .venv/installed ## run lint, type checks, the audit and the tests
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

REAL := .real
REAL_SYSTEMS := $(REAL)/web/installed $(REAL)/tryton-7.0/installed $(REAL)/tryton-8.2/installed $(REAL)/node_modules/installed

$(REAL)/node_modules/installed: tests/real/package.json
	@mkdir -p $(REAL) && cp $< $(REAL)/
	npm install --prefix $(REAL) --no-audit --no-fund --no-package-lock --silent
	@touch $@

$(REAL)/%/installed: tests/real/requirements-%.txt
	$(PYTHON) -m venv $(REAL)/$*
	$(REAL)/$*/bin/pip install --quiet --requirement $<
	@touch $@

real: .venv/installed $(REAL_SYSTEMS) ## read real systems by their presets: Tryton, Django REST Framework, Datasette, json-server
	@$(BIN)/python -m pytest tests/real

MANIFESTS := .manifests

$(MANIFESTS)/installed: tests/deploy/requirements.txt
	$(PYTHON) -m venv $(MANIFESTS)
	$(MANIFESTS)/bin/pip install --quiet --requirement $< --constraint requirements.txt
	@touch $@

# The address is never called; without one, Prefect would start a server.
manifests: $(MANIFESTS)/installed ## validate deploy/ by the schemas of Kubernetes and ECS
	@PREFECT_API_URL=http://127.0.0.1:9/api $(MANIFESTS)/bin/python -m pytest -c /dev/null --rootdir . --noconftest -p no:cacheprovider tests/deploy/manifests.py

bench: .venv/installed $(PEERS)/installed ## compare with dlt, Airbyte CDK and singer-sdk; write benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks

audit: .venv/installed ## check the pins against the known advisories, if OSV is reachable
	@$(BIN)/python .ci/audit.py

schema: .venv/installed ## write the JSON Schemas of spec files, after a change of their keys
	@$(BIN)/python -m tests.cli.test_schema

reference: .venv/installed ## write docs/reference, after a change of commands, parameters, keys, events or tables
	@$(BIN)/python -m tests.docs.reference

lock: .venv/installed ## compile requirements.txt from pyproject.toml again
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
		--output-file requirements.txt
	$(BIN)/uv pip compile benchmarks/requirements.in --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
		--output-file benchmarks/requirements.txt

clean: ## remove what the targets created
	rm -rf .venv $(RUNTIME) .demo $(PEERS) $(REAL) $(MANIFESTS)
