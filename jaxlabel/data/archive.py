"""Read the files in ZIP and TAR archives one after the other, without unpacking them.

Archives may be malicious. An archive is rejected if one of its names lies outside of its folder, if
it unpacks to far more bytes than it has, or if most of its entries are no images.
"""

import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from jaxlabel.errors import DataError, reason_of

MAX_ENTRIES = 500_000  # entries of a ZIP archive
MAX_FILE = 256 << 20  # bytes of one file in an archive
MAX_TOTAL = 512 << 20  # an archive may always unpack to this number of bytes
MAX_RATIO = 200  # or to this number times its own size, if that is more
MAX_USELESS = 10_000  # entries without an image that are always allowed; more if there are images
DRIVE = re.compile(r"[A-Za-z]:")
END_OF_ZIP = struct.Struct("<4s4H2LH")


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
      name: its path in the archive, with "/" between folders.
      content: its bytes.
    """

    name: str
    content: bytes


def read_members(file: Path, spec: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """Yield the wanted files of an archive, in the order in which they are stored.

    Args:
      file: a ZIP archive, or a TAR archive that may be compressed.
      spec: the data set, such as "zip:FILE"; it selects the format and occurs in error messages.
      wanted: a function that returns True for the name of a file that is to be read.

    Raises:
      DataError: the file is missing, damaged, or no archive; or the archive may be malicious.
    """
    if not file.is_file():
        raise DataError(f"{spec}: there is no such file")
    reader = _read_zip if spec.startswith("zip:") else _read_tar
    try:
        yield from reader(file, spec, wanted)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, lzma.LZMAError,
            RuntimeError, ValueError, OverflowError) as error:  # fmt: skip
        raise DataError(f"{spec} cannot be read ({reason_of(error)}): fetch it again") from error


class _Limits:
    """A counter of an archive's entries and bytes, which rejects archives that may be malicious."""

    def __init__(self, file: Path, spec: str):
        self.spec, self.size = spec, file.stat().st_size
        self.total = self.useful = self.useless = 0

    def check(self, name: str, size: int, is_useful: bool) -> None:
        """Count an entry of the archive, and raise an error if the archive must be rejected.

        Args:
          name: the path of the entry.
          size: the number of bytes that it unpacks to.
          is_useful: True if the entry is an image.

        Raises:
          DataError: the path lies outside of the archive's folder, the archive unpacks to too many
            bytes, or too many of its entries are no images.
        """
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or DRIVE.match(name):
            raise DataError(f"{self.spec} has an entry {name[:80]!r} outside of its own folder: "
                            "it is refused")  # fmt: skip
        self.total += size
        self.useful += is_useful
        self.useless += not is_useful
        if size > MAX_FILE or self.total > max(MAX_TOTAL, MAX_RATIO * self.size):
            raise DataError(f"{self.spec} unpacks to far more than it is (entry {name[:80]!r}): "
                            "it is refused; unpack it yourself if you trust it")  # fmt: skip
        if self.useless > MAX_USELESS + 10 * self.useful:
            raise DataError(f"{self.spec} has {self.useless:,} entries without an image among "
                            f"{self.useful:,} with one: it is refused")  # fmt: skip


def _read_zip(file: Path, spec: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    count = _count_zip_entries(file)
    if count > MAX_ENTRIES:
        raise DataError(f"{spec} has {count:,} entries, more than {MAX_ENTRIES:,}: unpack it and "
                        "use folder:DIR")  # fmt: skip
    limits = _Limits(file, spec)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        for entry in entries:
            is_useful = wanted(entry.filename) and entry.file_size > 0
            limits.check(entry.filename, entry.file_size, is_useful)
        for entry in entries:
            if entry.is_dir() or not wanted(entry.filename):
                continue
            with archive.open(entry) as stream:
                content = stream.read(entry.file_size + 1)  # no more than its header says
            yield Member(entry.filename, content)


def _count_zip_entries(file: Path) -> int:
    """Return the number of entries of a ZIP archive as its last bytes state it; 0 if they do not.

    A list of all entries takes many seconds for a million of them; this reads the last bytes only.
    """
    with file.open("rb") as stream:
        size = stream.seek(0, 2)
        start = max(0, size - (1 << 16) - END_OF_ZIP.size - 20)
        stream.seek(start)
        tail = stream.read()
        place = tail.rfind(b"PK\5\6")
        if place < 0 or len(tail) - place < END_OF_ZIP.size:
            return 0
        _, _, _, _, count, length, _, _ = END_OF_ZIP.unpack_from(tail, place)
        locator = tail.rfind(b"PK\6\7", 0, place)
        if 0xFFFF in (count, length & 0xFFFF) and locator >= 0:
            stream.seek(struct.unpack_from("<Q", tail, locator + 8)[0])
            record = stream.read(56)
            if record[:4] == b"PK\6\6" and len(record) == 56:
                count, length = struct.unpack_from("<2Q", record, 32)
    # The stated count may be too low. An entry in the list of entries has 46 bytes and a name, so
    # that with 1,024 bytes for each the length of the list gives a second, cautious estimate.
    return max(count, length // 1024)


def _read_tar(file: Path, spec: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    limits = _Limits(file, spec)
    with tarfile.open(file, "r|*") as archive:
        for entry in archive:
            name = entry.name.removeprefix("./")
            is_useful = entry.isfile() and entry.size > 0 and wanted(name)
            limits.check(name, entry.size, is_useful)
            if entry.issym() or entry.islnk() or entry.isdev():
                raise DataError(f"{spec} has an entry {name[:80]!r} that is a link or a device: "
                                "it is refused")  # fmt: skip
            if entry.isfile() and wanted(name) and (stream := archive.extractfile(entry)):
                yield Member(name, stream.read())
            archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every entry
