"""Export the classifier of a finished run as a folder of files that other programs can read."""
