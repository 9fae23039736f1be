# anomaly-exporter. `make` says what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# In a virtual environment of its own, so that nothing is installed into the system.
STAMP  := $(VENV)/.installed
RUNTIME := $(VENV)/.runtime
LOCKS  := requirements/runtime.txt requirements/dev.txt

# Programs start in half the time where Python may keep what it has compiled.
unexport PYTHONDONTWRITEBYTECODE
# uv trusts the certificates that pip trusts: those of the system.
export UV_SYSTEM_CERTS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test integration check format bench dashboards picture reference rules lock golden screenshots servers dist release docs clean

help: ## Say what there is.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with the locked dependencies and this package.

# What runs, and nothing else: the demo needs no more.
$(RUNTIME): requirements/runtime.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "installing the locked dependencies into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/runtime.txt
	@touch $(RUNTIME)

$(STAMP): $(RUNTIME) $(LOCKS) pyproject.toml
	@echo "installing the tools into $(VENV) ..."
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

servers: ## Find Prometheus and Alertmanager, or install them (Debian and Ubuntu, as root).
	@sh scripts/servers.sh prometheus prometheus-alertmanager

demo: servers $(RUNTIME) ## A real Prometheus and Alertmanager, four weeks of history, and an anomaly.
	@$(BIN)/python -m demo $(DEMO_FLAGS)

test: $(STAMP) ## Everything the tests need, then all tests.
	@sh scripts/servers.sh prometheus prometheus-alertmanager prometheus-node-exporter victoria-metrics || echo "tests that need them are skipped"
	@sh scripts/servers.sh chromium || echo "tests in a browser are skipped"
	@sh scripts/servers.sh mmdebstrap buildah podman crun || echo "the image is not built"
	@sh scripts/validators.sh || echo "tests that need them are skipped"
	@$(BIN)/python -m pytest -n auto --dist loadscope --no-loadscope-reorder --durations=15 --durations-min=1 $(PYTEST_FLAGS)

# `make integration SUITE=sid`: the servers of that Debian suite, unpacked beside those of the system.
SERVERS := $(if $(SUITE),.servers/$(SUITE))

integration: $(STAMP) ## The tests with real servers alone; SUITE=sid takes those of that Debian suite.
	@if [ -n "$(SUITE)" ]; then sh scripts/servers_of.sh $(SUITE) $(SERVERS); \
	else sh scripts/servers.sh prometheus prometheus-alertmanager prometheus-node-exporter victoria-metrics; fi
	@$(BIN)/python -m pytest -n auto --dist loadscope --no-loadscope-reorder --durations=15 --durations-min=1 \
		$(if $(SERVERS),--servers=$(SERVERS)) -m integration $(PYTEST_FLAGS)

check: $(STAMP) ## Lint, types, import contracts, and terms.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python scripts/check_words.py

format: $(STAMP) ## Format the code.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP) servers ## Measure everything that docs/performance.md says, and write it anew.
	@$(BIN)/python -m benchmarks

screenshots: $(STAMP) servers ## Take the pictures in docs/images anew, and the session of docs/walkthrough.md.
	@sh scripts/servers.sh chromium
	@$(BIN)/python -m pytest -q tests/integration/test_pages.py tests/integration/test_walkthrough.py --screenshots

golden: $(STAMP) ## Write the golden files anew; read the difference before you commit it.
	@$(BIN)/python -m pytest -q -n auto tests --update-golden

dashboards: $(STAMP) ## Write grafana_dashboards/*.json from their code.
	@$(BIN)/python -m grafana_dashboards

picture: $(STAMP) ## Draw docs/concepts.svg.
	@MPLBACKEND=agg $(BIN)/python scripts/picture.py

reference: $(STAMP) ## Write the parts of docs/ that follow from the code.
	@$(BIN)/python -m scripts.config_reference
	@$(BIN)/python -m scripts.metrics_reference
	@$(BIN)/python -m scripts.preset_reference
	@$(BIN)/anomaly-exporter schema --output docs/config.schema.json

rules: $(STAMP) ## Write the rules from their templates, also those of the operator.
	@$(BIN)/python -m scripts.rules

lock: ## Resolve the dependencies anew.
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet uv; }
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
		pyproject.toml -o requirements/runtime.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
		pyproject.toml --group dev -o requirements/dev.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
		--group build -o requirements/build.txt

docs: $(STAMP) ## Build the documentation as a site in site/; a broken link fails.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "python3 -m http.server --directory site"

dist: $(STAMP) ## Build the wheel and the source distribution, and check them.
	@rm -rf dist
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 1767225600) $(BIN)/python -m hatchling build
	@$(BIN)/twine check --strict dist/*
	@$(BIN)/check-wheel-contents dist/*.whl

release: $(STAMP) ## Set the version of a release everywhere: make release VERSION=1.2.3
	@$(BIN)/python -m scripts.release $(VERSION)

clean: ## Remove what was made here.
	@rm -rf $(VENV) .demo .servers .validators .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist site
