"""Decide whether a class name that a person wrote is an existing class in another spelling.

For example, " Oil tank" and "oil tank" are one class, and "KÃ¤fer" is "Käfer" read in the wrong
character encoding, which a person must correct.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jaxlabel.errors import UsageError

MAX_NAME_LENGTH = 200  # the maximal number of characters in a class name
# Invisible characters, which are removed from class names.
INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
# Invisible joiners of Persian and Indic scripts and of emoji. A name keeps them, but names that
# differ only in joiners are one class.
JOINERS = str.maketrans("", "", "\u200c\u200d\ufe0e\ufe0f")
# Spreadsheets and telephones write these hyphens and quotes instead of the ASCII characters.
LOOKALIKES = str.maketrans({
    "\u2010": "-", "\u2011": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"',
})  # fmt: skip
# The words that programs write into a table cell that was empty.
BLANKS = {"nan", "na", "n/a", "#n/a", "#na", "#nv", "<na>", "null", "nat"}
# The texts that spreadsheets write where a formula failed.
FAILED = {"#name?", "#value!", "#ref!", "#div/0!", "#num!", "#null!"}
NUMBER = re.compile(r"[+-]?\d+([.,]0+)?")
SHORTENED = re.compile(r"\d([.,]\d+)?e\+\d+", re.IGNORECASE)
ENCODINGS = ("utf-8", "cp1252", "latin-1", "mac_roman", "cp437", "cp850", "cp1250", "cp1251",
             "gbk", "shift_jis")  # fmt: skip


class Match(NamedTuple):
    """The result of comparing a written class name with the existing classes.

    Attributes:
      name: the class that the writer meant, existing or new; None if a person must decide.
      fault: the reason why a person must decide; an empty string if `name` is not None.
    """

    name: str | None
    fault: str = ""


def clean(text: str) -> str:
    """Return a class name in the form in which it is stored.

    Accented letters become single characters (Unicode NFC), runs of white space become one space,
    and invisible characters are removed.
    """
    return " ".join(INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split())


def checked_name(name: str) -> str:
    """Return the name of a class in the form in which it is stored, or raise an error.

    Accented letters become single characters, and runs of white space become one space.

    Raises:
      UsageError: the name is empty, too long, has several lines, or unprintable characters.
    """
    num_lines = len(str(name).strip().splitlines())
    name = clean(str(name))
    if num_lines != 1 or not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise UsageError(f"a class's name is one line of 1 to {MAX_NAME_LENGTH} characters")
    return name


@functools.lru_cache(10_000)
def key(name: str) -> str:
    """Return a simplified form of a class name; two names with the same form are one class.

    The form ignores upper and lower case, Unicode composition, full-width letters, invisible
    joiners, and the kinds of quotes and hyphens.
    """
    narrow = "".join(
        unicodedata.normalize("NFKC", letter) if "\uff01" <= letter <= "\uff5e" else letter
        for letter in clean(name)
    )
    folded = narrow.translate(JOINERS).translate(LOOKALIKES).casefold()
    return unicodedata.normalize("NFC", folded)


def is_blank(text: str, known: Iterable[str]) -> bool:
    """Return True if a table cell has no class name: it is empty or a word such as "NaN".

    Such a word, which a program writes into an empty cell, is a class name, not a missing one, if
    it is among the existing classes `known`.
    """
    return not clean(text) or (key(text) in BLANKS and key(text) not in set(map(key, known)))


def class_notes(classes: Iterable[str]) -> tuple[str, ...]:
    """Return messages for the user about classes of a data set that may not be what was meant.

    These are classes whose names differ only in letter case or similar signs, and those called as a
    program marks an empty cell, such as "nan".
    """
    by_key: dict[str, str] = {}
    notes = []
    for name in classes:
        if (other := by_key.setdefault(key(name), name)) != name:
            notes.append(f"{other!r} and {name!r} differ only in upper and lower case or in "
                         "similar signs: they are two classes")  # fmt: skip
        if key(name) in BLANKS:
            notes.append(f"{name!r} is taken for the name of a class, not for a missing label")
    return tuple(notes)


def value(name: str) -> str | None:
    """Return the whole number that a class name spells, or None if it spells none.

    Leading zeros are removed. For example, "007", "7" and "7.0" all give "7".
    """
    if not NUMBER.fullmatch(name) or not name.isascii():
        return None
    digits = re.split("[.,]", name.lstrip("+"))[0]
    return ("-" if digits.startswith("-") else "") + (digits.lstrip("-0") or "0")


def match(written: str, known: Sequence[str]) -> Match:
    """Find the class that a person meant by a written name.

    Args:
      written: the name, as `clean` returns it.
      known: the names of the existing classes.

    Returns:
      The class, or the reason why a person must decide. The class is an existing one if `written`
      is another spelling of its name, and otherwise a new class called `written`.
    """
    if written in known:
        return Match(written)
    if fault := _fault(written):
        return Match(None, fault)
    alike = [name for name in known if key(name) == key(written)]
    if len(alike) == 1:
        return Match(alike[0])
    if alike:
        return Match(None, f"it may mean {_list(alike)}: write it exactly")
    number = value(written)
    same = [name for name in known if number is not None and value(name) == number]
    if len(same) == 1 and _integer(same[0]) == _integer(written):
        return Match(same[0])  # such as 1 and 1.0
    if same:
        return Match(None, f"it is the same number as the class {_list(same)}, and a spreadsheet "
                     "may have changed it: write it exactly, or give one of them a name with a "
                     "letter")  # fmt: skip
    if other := wrongly_decoded(written, known):
        return Match(None, f"it is the class {other!r} in the wrong character encoding: save the "
                     "file as CSV UTF-8")  # fmt: skip
    return Match(written)


def first_spelling(name: str, spellings: dict[str, str]) -> tuple[str, str]:
    """Return the first of several new class names of which `name` is another spelling.

    If there is none, `name` itself is the first, and it is added.

    Args:
      name: a new class name, as `clean` returns it.
      spellings: the first names by what all spellings of a name have in common. It is changed.

    Returns:
      The name, and an empty string; or the reason why a person must decide.
    """
    number = value(name)
    first = spellings.setdefault(key(name), name)
    if number is not None:
        first = spellings.setdefault(f"number {number}", first)
    if first != name and key(first) != key(name) and _integer(first) != _integer(name):
        return name, (f"it is the same number as {first!r} in an earlier line, and a spreadsheet "
                      "may have changed one of them: write them in the same way")  # fmt: skip
    return first, ""


def wrongly_decoded(written: str, known: Iterable[str]) -> str | None:
    """Return the class in `known` that is `written` read in a wrong character encoding, or None.

    The converse also counts: the class in `known` may be the name that was read wrongly. So does a
    lost letter, such as "K?fer" for "Käfer".
    """
    for name in known:
        one_letter = len(name) == len(written) <= 2  # classes of letters: "õ" is not "ő"
        if one_letter or (name.isascii() and written.isascii()):
            continue
        if key(written) in _misreadings(name) or key(name) in _misreadings(written):
            return name
    return None


@functools.lru_cache(10_000)
def _misreadings(name: str) -> frozenset[str]:
    """Return the texts that a name becomes when a file is read in a wrong character encoding.

    The texts are in the form that `key` returns. A name may have been read wrongly once or twice.
    """
    if name.isascii():
        return frozenset()
    once = _misread(name)
    twice = {again for text in once if "\ufffd" not in text for again in _misread(text, 2)}
    lost = {re.sub(r"[^\x00-\x7f]", "?", name)}
    return frozenset(key(text) for text in once | twice | lost) - {key(name), ""}


def _misread(name: str, num_encodings: int = len(ENCODINGS)) -> set[str]:
    """Return the texts that a name becomes when it is written in one encoding and read in another.

    Only the first `num_encodings` of ENCODINGS are combined.
    """
    found = set()
    for written in ENCODINGS[:num_encodings]:
        try:
            content = name.encode(written)
        except UnicodeEncodeError:
            continue
        chosen = ENCODINGS[:num_encodings]
        found |= {content.decode(read, "replace") for read in chosen if read != written}
    return found


def _fault(written: str) -> str:
    """Return why a text cannot be the name of a new class, or an empty string if it can."""
    if "\ufffd" in written:
        return "it has lost a letter in a wrong character encoding: save the file as CSV UTF-8"
    if written.casefold() in FAILED:
        return "a formula of the spreadsheet failed there: write the class's name"
    if SHORTENED.fullmatch(written):
        return ("a spreadsheet has shortened a long number: format that column as text and write "
                "the number again")  # fmt: skip
    try:
        meant = written.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return ""
    if meant == written:
        return ""
    return f"it is {meant!r} in the wrong character encoding: save the file as CSV UTF-8"


def _integer(name: str) -> str:
    """Return the digits of a number before its decimal point or comma, with leading zeros.

    For example, "007.0" gives "007".
    """
    return re.split("[.,]", name)[0]


def _list(names: Sequence[str]) -> str:
    """Return the names in quotes, joined by "or"."""
    return " or ".join(map(repr, names))


def by_number(name: str) -> tuple[float, str]:
    """Return a sort key that puts class names that are numbers first, in numerical order."""
    try:
        return float(int(name)), name
    except (ValueError, OverflowError):
        return float("inf"), name
