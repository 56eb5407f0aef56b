"""Where the Lease lies by which several orchestrators choose who leads."""
