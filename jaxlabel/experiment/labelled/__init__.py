"""Write the labels of a run for other programs, and read a person's labels that they return."""
