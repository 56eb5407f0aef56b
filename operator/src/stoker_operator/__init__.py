"""Turns the wanted state into cluster objects and says in status why something is not so."""
