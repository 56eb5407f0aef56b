"""The container images of Stoker, built by the ordinary Dockerfiles."""
