# Measurements that need a card.

.PHONY: bench-gpu
bench-gpu: $(STAMP) ## The worker beside stock diffusers on a CUDA card, weights random, of the true size. ONLY="where latency". About 35 min.
	@$(PYTHON) -m benchmarks.gpu.run $(ONLY:%=--only %)
