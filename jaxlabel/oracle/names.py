"""Decide which spellings of a class's name mean one class, and which a person must put right."""

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Characters that nobody sees: they are removed from names.
INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
# The joiners of Persian and Indic scripts and of emoji stay in a name, but make no other class.
JOINERS = str.maketrans("", "", "\u200c\u200d\ufe0e\ufe0f")
# Spreadsheets and telephones write these characters in place of the plain ones.
LOOKALIKES = str.maketrans({
    "\u2010": "-", "\u2011": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"',
})  # fmt: skip
# What programs write into a cell that was empty.
BLANKS = {"nan", "na", "n/a", "#n/a", "#na", "#nv", "<na>", "null", "nat"}
# What spreadsheets write where a formula failed.
FAILED = {"#name?", "#value!", "#ref!", "#div/0!", "#num!", "#null!"}
NUMBER = re.compile(r"[+-]?\d+([.,]0+)?")
SHORTENED = re.compile(r"\d([.,]\d+)?e\+\d+", re.IGNORECASE)
ENCODINGS = ("utf-8", "cp1252", "latin-1", "mac_roman", "cp437", "cp850", "cp1250", "cp1251",
             "gbk", "shift_jis")  # fmt: skip


class Match(NamedTuple):
    """How a written name relates to the known ones.

    Attributes:
      name: the class that is meant; None if a person must decide.
      fault: why a person must decide; "" if `name` is given.
    """

    name: str | None
    fault: str = ""


def clean(text: str) -> str:
    """Return a name as it is stored: composed (NFC), with single plain spaces, nothing unseen."""
    return " ".join(INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split())


@functools.lru_cache(10_000)
def key(name: str) -> str:
    """Return a text that is equal for the spellings that a person takes for one name.

    It ignores case, Unicode forms, full-width letters, joiners, and the kind of quotes and hyphens.
    """
    narrow = "".join(
        unicodedata.normalize("NFKC", letter) if "\uff01" <= letter <= "\uff5e" else letter
        for letter in clean(name)
    )
    folded = narrow.translate(JOINERS).translate(LOOKALIKES).casefold()
    return unicodedata.normalize("NFC", folded)


def is_blank(text: str, known: Iterable[str]) -> bool:
    """Return True if a cell is empty, or says so in a program's word that names no known class."""
    return not clean(text) or (key(text) in BLANKS and key(text) not in set(map(key, known)))


def value(name: str) -> str | None:
    """Return the whole number that a name writes, without leading zeros; None if it is none."""
    if not NUMBER.fullmatch(name) or not name.isascii():
        return None
    digits = re.split("[.,]", name.lstrip("+"))[0]
    return ("-" if digits.startswith("-") else "") + (digits.lstrip("-0") or "0")


def match(written: str, known: Sequence[str]) -> Match:
    """Find the class that a written name means.

    Args:
      written: the name, as `clean` returns it.
      known: the classes that exist.

    Returns:
      The known class if the name is that class in another spelling; the name itself if it is new;
      or the reason why a person must decide.
    """
    if written in known:
        return Match(written)
    if fault := _spoilt(written):
        return Match(None, fault)
    alike = [name for name in known if key(name) == key(written)]
    if len(alike) == 1:
        return Match(alike[0])
    if alike:
        return Match(None, f"it may mean {_list(alike)}: write it exactly")
    number = value(written)
    same = [name for name in known if number is not None and value(name) == number]
    if len(same) == 1 and _integer(same[0]) == _integer(written):
        return Match(same[0])  # 1 and 1.0
    if same:
        return Match(None, f"it is the same number as the class {_list(same)}, and a spreadsheet "
                     "may have changed it: write it exactly, or give one of them a name with a "
                     "letter")  # fmt: skip
    if other := wrongly_decoded(written, known):
        return Match(None, f"it is the class {other!r} in the wrong character encoding: save the "
                     "file as CSV UTF-8")  # fmt: skip
    return Match(written)


def collision(names: Sequence[str]) -> tuple[str, str] | None:
    """Return the first two of several new names that may mean one class, or None."""
    seen: dict[str, str] = {}
    for name in names:
        marks = [key(name)] + [mark for mark in [value(name)] if mark is not None]
        for mark in marks:
            if (other := seen.setdefault(mark, name)) != name:
                return other, name
    foreign = [name for name in names if not name.isascii()]
    for name in foreign:
        if (
            twin := wrongly_decoded(name, [other for other in foreign if other != name])
        ) is not None:
            return twin, name
    return None


def wrongly_decoded(written: str, known: Iterable[str]) -> str | None:
    """Return the known name that `written` is in a wrong character encoding (mojibake), or None.

    Both directions count: a known name may itself have been read wrongly. A lost letter, "K?fer"
    for "Käfer", counts too.
    """
    for name in known:
        one_letter = len(name) == len(written) <= 2  # alphabets: "õ" and "ő" are two classes
        if one_letter or (name.isascii() and written.isascii()):
            continue
        if key(written) in _misreadings(name) or key(name) in _misreadings(written):
            return name
    return None


@functools.lru_cache(10_000)
def _misreadings(name: str) -> frozenset[str]:
    """Return what a name becomes, once or twice encoded with one encoding and read with another."""
    if name.isascii():
        return frozenset()
    once = _misread(name)
    twice = {again for text in once if "\ufffd" not in text for again in _misread(text, 2)}
    lost = {re.sub(r"[^\x00-\x7f]", "?", name)}
    return frozenset(key(text) for text in once | twice | lost) - {key(name), ""}


def _misread(name: str, num_encodings: int = len(ENCODINGS)) -> set[str]:
    """Return the name encoded with each of the first encodings and decoded with another one."""
    found = set()
    for written in ENCODINGS[:num_encodings]:
        try:
            content = name.encode(written)
        except UnicodeEncodeError:
            continue
        chosen = ENCODINGS[:num_encodings]
        found |= {content.decode(read, "replace") for read in chosen if read != written}
    return found


def _spoilt(written: str) -> str:
    """Return why a text cannot be the name of a new class; "" if it can."""
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
    """Return the digits of a number before its point, with the leading zeros."""
    return re.split("[.,]", name)[0]


def _list(names: Sequence[str]) -> str:
    """Return names in quotes, with "or" between them."""
    return " or ".join(map(repr, names))
