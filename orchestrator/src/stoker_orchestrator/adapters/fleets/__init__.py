"""Where endpoints come from. Routing does not know which of these it has."""
