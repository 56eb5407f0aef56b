"""Several orchestrators of one release: one leads and gives out all slots, the others ask it."""
