"""What can go wrong through no fault of the code: one line for the user, and an exit code."""

from collections.abc import Iterable


class JaxlabelError(Exception):
    """The base: its message is one line that says what is wrong and what to do."""

    exit_code = 1


class UsageError(JaxlabelError):
    """A flag, a setting or a work directory does not fit."""

    exit_code = 2


class DataError(JaxlabelError):
    """A data set is missing, corrupt, or of another shape than its kind has."""

    exit_code = 2


class StoreError(JaxlabelError):
    """The label store cannot be reached, or holds something else than was expected."""


class StoreAddressError(StoreError):
    """The label store's URL is none."""

    exit_code = 2


class Diverged(JaxlabelError):
    """A training's loss is no longer a number."""


class BudgetExceeded(JaxlabelError):
    """The labels asked for cost more than is left; nothing was charged and nothing was revealed."""


class LabelsMissing(JaxlabelError):
    """The label store has no answer yet for some items; `items` names them. Nothing was charged."""

    def __init__(self, message: str, items: list[str]):
        super().__init__(message)
        self.items = items
        self.purpose = "train"  # what the labels are for; "certify" for an audit


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' (did you mean X?)' when something known is spelled nearly so, else nothing."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
