"""Read the CSV files that spreadsheet programs write, in their several encodings and separators."""

import codecs
import csv
import io
from pathlib import Path
from typing import NamedTuple

from jaxlabel.errors import DataError


class Sheet(NamedTuple):
    """A CSV file that is being read.

    Attributes:
      rows: the reader of its rows, which returns each row as a dict by the names of the columns.
        Cells that a short row lacks are empty.
      skipped: the number of lines before the line with the names of the columns.
    """

    rows: "csv.DictReader[str]"
    skipped: int

    @property
    def line(self) -> int:
        """The number of the last line in the file that was read, also if it is not CSV."""
        return self.rows.reader.line_num + self.skipped


def open_csv(path: Path, shown: str) -> Sheet:
    """Open a CSV file that a person may have saved with a spreadsheet program.

    Commas, semicolons or tabs may separate the columns, and a first line such as "sep=;" may say
    which. Blank lines before the names of the columns are skipped. The text may be UTF-8 with or
    without a byte-order mark, or UTF-16 with one.

    Args:
      path: the file.
      shown: what error messages call the file.

    Raises:
      DataError: the file cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError)
                  else "it is not UTF-8 text: save it as CSV UTF-8")  # fmt: skip
        raise DataError(f"{shown} cannot be read: {reason}") from error
    skipped = 0
    while text:
        first, _, rest = text.partition("\n")
        if first.strip() and not first.lower().startswith("sep="):
            break
        text, skipped = rest, skipped + 1  # Excel writes the separator in a line "sep=;"
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    lines = io.StringIO(text, newline="")
    return Sheet(csv.DictReader(lines, delimiter=delimiter, restval="", strict=True), skipped)


def fault(sheet: Sheet, shown: str, error: csv.Error) -> DataError:
    """Return the exception for a line that is not CSV, to be raised in place of `error`.

    Args:
      sheet: the file, of which some lines have been read.
      shown: what the message calls the file.
      error: the exception of the module csv.
    """
    return DataError(f"{shown} line {sheet.line} is not CSV: {error}; is a quote missing?")
