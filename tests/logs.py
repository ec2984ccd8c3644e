"""A log for tests that start a run again."""

from jaxlabel.log import NullLog


class Memory(NullLog):
    """A log that keeps the newest checkpoint of each name in memory."""

    def __init__(self):
        self.kept = {}

    def save(self, name, step, tree):
        if step > self.kept.get(name, (-1,))[0]:
            self.kept[name] = step, tree

    def restore(self, name, like):
        assert name not in self.kept or self.kept[name][1].shape == like.shape
        return self.kept.get(name)
