# The orchestrator's domain in virtual time. What it proves stands in docs/concepts/simulation.md.

.PHONY: simulate
simulate: $(STAMP) ## Small simulated worlds with every fault: SEED=0 WORLDS=1000, or LARGE=1; the seed of a violation is told.
	@$(PYTHON) -m simulation --seed $(or $(SEED),0) --worlds $(or $(WORLDS),1000) $(if $(LARGE),--large)

# Apart from the unit tests: to count the lines that run would take longer than the worlds.
.PHONY: simulation-test
simulation-test: $(STAMP) ## Some dozens of simulated worlds, and mutations of the domain that they must find.
	@$(PYTEST) tests/simulation $(REPORT)

.PHONY: bench-simulate
bench-simulate: $(STAMP) ## 1,000 small worlds, and 10,000 nodes with 100,000 pods for 10 virtual minutes: seconds, memory, violations.
	@$(PYTHON) -m benchmarks.simulate.run
