"""A person's hand: one file for each command, and no logic of its own."""
