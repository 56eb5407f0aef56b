"""The data plane: what is warm, who may run, and where it runs."""
