# Container images, built into the Docker that the test clusters use.

.PHONY: images
images: $(STAMP) ## Build the container images, as far as they are not there yet. IMAGES="worker-stub ..." chooses.
	@$(PYTHON) -m e2e.images $(IMAGES)
