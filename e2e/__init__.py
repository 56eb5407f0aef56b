"""Clusters, scenarios and demonstrations that run the whole of Stoker."""
