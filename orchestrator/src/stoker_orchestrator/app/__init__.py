"""Wiring: settings, the ASGI applications, and the loops that feed the domain."""
