"""What the operator needs of the outside: the Kubernetes API."""
