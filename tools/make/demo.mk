# Demonstrations.

.PHONY: demo-local
demo-local: $(STAMP) ## Stoker on this host without containers: three models, three jobs, pictures in demo-output/. KEEP=1 stays up.
	@$(PYTHON) -m e2e.demo.local --models-dir $(CACHE)/tiny-models-$(shell sha256sum worker-image/src/stoker_worker/engine/tiny.py | cut -c1-12) $(if $(KEEP),--keep)
