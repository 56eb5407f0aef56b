"""Whole worlds in virtual time: the orchestrator's own domain objects among nodes, pods and callers that a seed makes up.

Nothing here is imitated that can be the thing itself: registry, switchboard, lines, outliers and retries are those of production.
Only what lies outside the domain ring (the cluster, its watches, the network, the workers) is played.
"""
