"""Shows: a models config becomes running workers, and a prompt becomes a picture."""
