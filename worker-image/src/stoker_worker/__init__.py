"""One diffusion model in one process: load, queue, run, encode."""
