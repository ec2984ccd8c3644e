"""Errors that the user can correct, each with a message of one line and an exit code."""

from collections.abc import Iterable


class JaxlabelError(Exception):
    """The base class of all errors; the message is one line: what is wrong and what to do."""

    exit_code = 1


class UsageError(JaxlabelError):
    """A command-line flag, a setting or a work directory is not valid."""

    exit_code = 2


class DataError(JaxlabelError):
    """A data set is missing, corrupt, or not in the expected format."""

    exit_code = 2


class StoreError(JaxlabelError):
    """The label store cannot be used, or its content contradicts the request."""


class StoreAddressError(StoreError):
    """The label store's URL is not valid."""

    exit_code = 2


class Diverged(JaxlabelError):
    """A training diverged: its loss is no longer finite."""


class BudgetExceeded(JaxlabelError):
    """The labels asked for cost more than the remaining budget; none of them was bought."""


class LabelsMissing(JaxlabelError):
    """The label store has no label yet for some of the items asked for; no label was bought.

    Attributes:
      items: the ids of the items without a label.
    """

    def __init__(self, message: str, items: list[str]):
        super().__init__(message)
        self.items = items


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean X?)" for the known word X most similar to `word`, or ""."""
    import difflib

    matches = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""
