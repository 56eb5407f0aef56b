"""Wiring of the operator: kopf, the queue, the loops, health, the process."""
