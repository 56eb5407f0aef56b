"""The line from a models config to a picture, tried on a real cluster with real pods."""
