"""One module for each condition that the operator owns: ``(observed, now) → Verdict``."""
