"""One run, from its configuration to its report, and what is done with a finished run."""
