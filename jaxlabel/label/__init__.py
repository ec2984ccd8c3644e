"""The labelling page: a local web page on which people label the pictures that a run asks about.

One process serves the page, and a child process trains. They exchange data only through the label
store (a database) and the work directory, so each can be killed without the other.
"""
