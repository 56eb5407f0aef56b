# The test tiers. What each needs and proves stands in CONTRIBUTING.md.

PYTEST := .venv/bin/pytest -q
REPORT = $(if $(JUNIT_REPORT),--junit-xml=$(JUNIT_REPORT))
FAULTS := worker_faults or rollouts or drains or kills or api_server or crowds or scaling
DOMAINS := stoker_operator stoker_orchestrator stoker_worker

.PHONY: test
test: $(STAMP) ## Every tier: lint, types, imports, generated files, unit, compiled, simulation, chart, api, cluster.
	@$(PYTHON) tools/tiers.py

.PHONY: test-fast
test-fast: $(STAMP) ## What needs no cluster: lint, types, imports, generated files, unit, simulation.
	@$(PYTHON) tools/tiers.py lint types imports generated unit simulation

.PHONY: unit
unit: $(STAMP) ## Unit tests, with at least 95 % of the lines of every domain.
	@$(PYTEST) -m "not api and not chart and not cluster" --ignore=tests/simulation --cov --cov-report= $(REPORT)
	@$(PYTHON) -m coverage report --include='*/stoker_contracts/*' --fail-under=95 --format=total >/dev/null \
	  || { echo "contracts: less than 95 % of the lines are covered"; $(PYTHON) -m coverage report --include='*/stoker_contracts/*' -m; exit 1; }
	@for member in $(DOMAINS); do \
	  $(PYTHON) -m coverage report --include="*/$$member/domain/*" --fail-under=95 --format=total >/dev/null \
	  || { echo "$$member.domain: less than 95 % of the lines are covered"; $(PYTHON) -m coverage report --include="*/$$member/domain/*" -m; exit 1; }; \
	done

.PHONY: compiled-test
compiled-test: $(STAMP) ## The orchestrator's unit tests once more, with its job path compiled as in its image.
	@folder=$$($(PYTHON) -m tools.compiled) && PYTHONPATH=$$folder $(PYTEST) tests/orchestrator $(REPORT)

.PHONY: api
api: $(STAMP) binaries ## Tests against a real API server, run as plain processes.
	@$(PYTEST) -m api -p no:randomly tests/api $(REPORT)

.PHONY: cluster
cluster: $(STAMP) ## Scenarios on a kind cluster with real pods.
	@$(PYTHON) -m e2e.scenarios $(REPORT)

.PHONY: faults
faults: $(STAMP) ## The faults that a cluster must survive, at their full length: API server away for 90 s, overload for 60 s.
	@STOKER_AWAY_SECONDS=90 STOKER_OVERLOAD_SECONDS=60 \
	  $(PYTHON) -m e2e.scenarios -k "$(FAULTS)" $(REPORT)

.PHONY: generated-check
generated-check: crds-check lock-check reference-check ## Fail when a generated file differs from its source.
