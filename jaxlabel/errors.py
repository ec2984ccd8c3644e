"""Errors that the user can correct, each with a message of one line and an exit code."""

from collections.abc import Iterable


class JaxlabelError(Exception):
    """The base class of all errors that a user can correct.

    The message is one line that says what is wrong and what to do. A command that ends with the
    error exits with `exit_code`.
    """

    exit_code = 1


class UsageError(JaxlabelError):
    """An error raised if a command-line flag, a setting or a work directory is not valid."""

    exit_code = 2


class DataError(JaxlabelError):
    """An error raised if a data set is missing, corrupt, or not in the expected format."""

    exit_code = 2


class NoLabels(DataError):
    """An error raised if none of the images of a data set, or of one of its splits, has a label."""


class SizesDiffer(DataError):
    """An error raised if images differ in size, but must all have the same size."""


class StoreError(JaxlabelError):
    """An error raised if the label store cannot be used or does not allow a request.

    The label store is the database that holds the labels and their prices.
    """


class NewClass(StoreError):
    """An error raised if a label has a class that the run did not know when it began.

    For example, another run on the same label store has added the class meanwhile.
    """


class StoreAddressError(StoreError):
    """An error raised if the URL of the label store (the database of labels) is not valid."""

    exit_code = 2


class Diverged(JaxlabelError):
    """An error raised if a training diverged, so that its loss is no longer finite."""


class BudgetExceeded(JaxlabelError):
    """An error raised if the requested labels cost more than is left of the budget.

    None of the requested labels is bought in this case.

    Args:
      fact: what happened, the first part of the message.
      advice: what to do, the second part.

    Attributes:
      fact: what happened.
    """

    def __init__(self, fact: str, advice: str = ""):
        super().__init__(f"{fact}. {advice}" if advice else fact)
        self.fact = fact


class LabelsMissing(JaxlabelError):
    """An error raised if the label store (the database of labels) lacks requested labels.

    None of the requested labels is bought in this case.

    Attributes:
      items: the ids of the items without a label.
    """

    def __init__(self, message: str, items: list[str]):
        super().__init__(message)
        self.items = items
        self.purpose = "train"  # what the labels are for; "certify" for an audit


def reason_of(error: Exception) -> str:
    """Return the message of an exception in one line of at most 200 characters.

    If the exception has no message, the name of its type is returned.
    """
    return " ".join(str(error).split())[:200] or type(error).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint such as " (did you mean budget?)" for a misspelt word.

    The hint names the word in `known` that is most similar to `word`. If no word is similar, an
    empty string is returned.
    """
    import difflib

    matches = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""
