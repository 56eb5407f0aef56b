# Bad requests by the thousand.

.PHONY: fuzz-worker
fuzz-worker: $(STAMP) ## 50,000 bad requests to real workers: no 5xx, no missing answer, no restart. SEED=1 REQUESTS=50000. About 90 s.
	@$(PYTHON) -m tools.fuzz_worker --seed $(or $(SEED),1) --requests $(or $(REQUESTS),50000)
