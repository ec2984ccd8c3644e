"""Execute one run from its configuration to its report, and use a finished run."""
