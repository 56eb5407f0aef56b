# The development environment: one virtual environment in the clone, installed by hash from the committed exports.

EXPORT := $(UV) export --quiet --frozen --no-header --no-annotate --no-emit-workspace --no-emit-index-url

# The images have Debian's interpreter, so tests and measurements use it as well where it is there.
INTERPRETER := $(firstword $(wildcard /usr/bin/python3.11) 3.11)

.PHONY: venv
venv: $(STAMP) ## Install everything that development needs into .venv (about 5 GB, by hash).

$(UV):
	@echo "Installing uv into the cache"
	@python3 -m venv $(CACHE)/bootstrap/uv
	@$(CACHE)/bootstrap/uv/bin/python -m pip install --quiet --require-hashes --requirement requirements/build.txt

$(STAMP): requirements/dev.txt $(MEMBERS:%=%/pyproject.toml) | $(UV)
	@echo "Installing the development environment"
	@test -x $(PYTHON) || $(UV) venv --quiet --python $(INTERPRETER) .venv
	@$(UV) pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes --requirement requirements/dev.txt
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation $(MEMBERS:%=--editable ./%)
	@touch $@

.PHONY: lock
lock: | $(UV) ## Resolve anew and write the hashed exports in requirements/.
	@$(UV) lock --quiet --upgrade
	@$(MAKE) --no-print-directory export-to DESTINATION=requirements

.PHONY: lock-check
lock-check: $(STAMP) ## Fail when the development environment lacks what the members declare; unit tests look at each program's export.
	@$(UV) pip check --quiet --python $(PYTHON)

.PHONY: export-to
export-to:
	@$(EXPORT) --only-group dev --output-file $(DESTINATION)/dev.txt >/dev/null
	@$(EXPORT) --only-group build --output-file $(DESTINATION)/build.txt >/dev/null
	@$(EXPORT) --only-group compile --output-file $(DESTINATION)/compile.txt >/dev/null
	@$(EXPORT) --no-dev --package stoker-operator --output-file $(DESTINATION)/operator.txt >/dev/null
	@$(EXPORT) --no-dev --package stoker-orchestrator --output-file $(DESTINATION)/orchestrator.txt >/dev/null
	@$(EXPORT) --no-dev --package stoker-worker --output-file $(DESTINATION)/worker-stub.txt >/dev/null
	@$(EXPORT) --no-dev --package stoker-worker --extra diffusers --extra bench --output-file $(DESTINATION)/worker.txt >/dev/null
	@$(EXPORT) --no-dev --package stoker-cli --output-file $(DESTINATION)/cli.txt >/dev/null
