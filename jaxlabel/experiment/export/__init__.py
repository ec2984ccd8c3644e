"""Export the classifier of a finished run as a bundle that other programs read."""
