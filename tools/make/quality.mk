# What a machine can say about the code without running it.

CODE := contracts operator orchestrator worker-image cli e2e tests tools benchmarks simulation
PRESENT = $(wildcard $(CODE))

.PHONY: lint
lint: $(STAMP) ## Lint and formatting (ruff, every rule), shadowed standard modules.
	@.venv/bin/ruff check $(PRESENT)
	@.venv/bin/ruff format --check --quiet $(PRESENT) || { echo "run 'make format'"; exit 1; }
	@test ! -e operator/__init__.py || { echo "operator/__init__.py would shadow the standard library"; exit 1; }

.PHONY: format
format: $(STAMP) ## Format the code and mend what can be mended.
	@.venv/bin/ruff check --fix --quiet $(PRESENT) || true
	@.venv/bin/ruff format --quiet $(PRESENT)

.PHONY: types
types: $(STAMP) ## Strict types (mypy).
	@.venv/bin/mypy $(PRESENT)

.PHONY: imports
imports: $(STAMP) ## Import contracts: rings, members, and where kopf, the Kubernetes client and torch may stand.
	@.venv/bin/lint-imports --no-logo 2>/dev/null || .venv/bin/lint-imports

.PHONY: crds
crds: $(STAMP) ## Generate the CRDs from the pydantic models.
	@$(PYTHON) tools/crds.py

.PHONY: crds-check
crds-check: $(STAMP) ## Fail when a committed CRD differs from what the models say.
	@$(PYTHON) tools/crds.py --check

.PHONY: reference
reference: $(STAMP) ## Write the reference pages of resources, settings, metrics and commands from the code.
	@$(PYTHON) -m tools.reference

.PHONY: reference-check
reference-check: $(STAMP) ## Fail when a reference page differs from what the code says.
	@$(PYTHON) -m tools.reference --check
