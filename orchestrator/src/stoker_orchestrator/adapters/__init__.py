"""Outside systems: the workers' HTTP, and the fleets that bring endpoints."""
