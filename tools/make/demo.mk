# Demonstrations.

.PHONY: demo
demo: $(STAMP) ## Stoker on a real Kubernetes (kind): models config, pods, pictures in demo-output/.
	@$(PYTHON) -m e2e.cluster check || { echo "'make demo-local' shows the same without containers"; exit 1; }
	@$(PYTHON) -m e2e.demo.cluster

.PHONY: demo-down
demo-down: $(STAMP) ## Remove the demonstration's cluster, leftovers of a crashed run included.
	@$(PYTHON) -m e2e.demo.cluster --down

.PHONY: demo-local
demo-local: $(STAMP) ## Stoker on this host without containers: three models, three jobs, pictures in demo-output/. KEEP=1 stays up, PORT=8935.
	@$(PYTHON) -m e2e.demo.local $(if $(KEEP),--keep) $(PORT:%=--port %)

.PHONY: status-picture
status-picture: $(STAMP) ## Draw docs/pictures/status.svg anew, from a run on this host.
	@$(PYTHON) -m tools.status_picture
