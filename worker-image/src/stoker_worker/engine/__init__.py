"""Engines: what loads a model and runs it. torch and diffusers are imported here and nowhere else."""
