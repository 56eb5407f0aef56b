# Measurements. Each prints one JSON object as its last line; what they mean and the measured values are in docs/performance.md.

.PHONY: bench-proxy
bench-proxy: $(STAMP) ## The job path beside nginx, caddy and a FastAPI+httpx proxy: requests/s as ratios, memory, latency. About 2 min.
	@$(PYTHON) -m benchmarks.proxy.run

.PHONY: bench-worker
bench-worker: $(STAMP) ## The worker on CPU: seconds per call of the tiny pipelines, /health while a job runs, start of the stub.
	@$(PYTHON) -m benchmarks.worker.run
