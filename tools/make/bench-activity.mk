# Measurements of what activity decides: lines, overload, routing.

.PHONY: bench-hold
bench-hold: $(STAMP) ## 5,000 jobs held for a cold model, then released by its only slot: memory, order, exact refusals. About 40 s.
	@$(PYTHON) -m benchmarks.activity.hold

.PHONY: bench-overload
bench-overload: $(STAMP) ## Ten times what the workers can do for a minute: goodput, how fast refusals are, recovery. About 100 s.
	@$(PYTHON) -m benchmarks.activity.overload

.PHONY: bench-routing
bench-routing: $(STAMP) ## Jobs of very different cost beside nginx's round robin and least_conn on the same workers. About 4 min.
	@$(PYTHON) -m benchmarks.activity.routing

.PHONY: bench-slots
bench-slots: $(STAMP) ## What a slot costs the orchestrator that leads, and one that asks it over the link. About 10 s.
	@$(PYTHON) -m benchmarks.activity.slots
