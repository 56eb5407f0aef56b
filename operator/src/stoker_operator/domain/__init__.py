"""Decisions of the operator: what should be in the cluster and what to say of it. Pure: data in, decision out, time as ``now``."""
