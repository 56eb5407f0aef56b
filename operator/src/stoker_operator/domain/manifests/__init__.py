"""From what is wanted to the objects that Kubernetes takes."""
