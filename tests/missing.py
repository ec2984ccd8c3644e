"""A stand-in for the missing value of pandas, because pandas may not be installed."""


class NAType:
    """Behave as `pandas.NA` does: every comparison gives NA, which is neither true nor false."""

    def __eq__(self, other):
        return self

    def __ne__(self, other):
        return self

    def __repr__(self):
        return "<NA>"

    def __hash__(self):
        return 1

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


NA = NAType()
