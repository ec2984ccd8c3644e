"""The labelling page: a local web page on which people answer a run's questions.

One process serves the page; a child process trains. Both speak through the label store and the
work directory alone, so each can be killed without the other.
"""
