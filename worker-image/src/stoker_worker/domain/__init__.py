"""Decisions of the worker without I/O: who may wait, who runs, and in which state the worker is."""
