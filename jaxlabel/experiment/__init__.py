"""One run from its configuration to its report, and the commands that use a finished run."""
