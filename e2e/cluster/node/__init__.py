"""The node of a kind cluster, made without an image registry: Debian packages, programs built from Go modules, a few files."""
