"""Execute a run (one training with one configuration), and use the files of a finished run."""
