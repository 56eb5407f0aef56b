"""Wiring: settings, the model thread, HTTP, signals."""
