"""The command line: what a user types, from flags to one call of the engine."""
