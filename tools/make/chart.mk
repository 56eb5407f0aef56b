# The Helm chart.

CHART := deploy/helm/stoker

.PHONY: chart-test
chart-test: $(STAMP) binaries ## The chart without a cluster: helm lint, its suites (helm-unittest), schemas (kubeconform), refused values.
	@$(PYTEST) -m chart tests/chart $(REPORT)

.PHONY: chart-values
chart-values: $(STAMP) ## Write the chart's reference page and its schema's descriptions from the comments of values.yaml.
	@$(PYTHON) tools/chart_values.py

.PHONY: chart-values-check
chart-values-check: $(STAMP)
	@$(PYTHON) tools/chart_values.py --check

generated-check: chart-values-check

.PHONY: dashboard
dashboard: $(STAMP) ## Write the chart's Grafana dashboard from tools/panels.py.
	@$(PYTHON) -m tools.dashboard

.PHONY: dashboard-check
dashboard-check: $(STAMP)
	@$(PYTHON) -m tools.dashboard --check

generated-check: dashboard-check
