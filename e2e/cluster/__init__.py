"""Clusters to try Stoker on: kind where containers run, and a bare API server as plain processes."""
