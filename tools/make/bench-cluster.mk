# Measurements that need an API server or a cluster.

.PHONY: bench-operator
bench-operator: $(STAMP) ## 200 resources on a real API server: seconds until warm, and writes of an idle minute.
	@$(PYTHON) -m benchmarks.operator.run

.PHONY: bench-readiness
bench-readiness: $(STAMP) ## Pod ready or not → in or out of /capabilities, on a kind cluster, under traffic.
	@$(PYTHON) -m benchmarks.readiness.run

.PHONY: bench-cold
bench-cold: $(STAMP) ## Cold starts on a kind cluster: what Stoker adds to starting a container and loading a model. About 3 min.
	@$(PYTHON) -m benchmarks.cold.run
