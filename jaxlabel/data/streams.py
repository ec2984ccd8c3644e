"""Read images and labels from archives, tables and shards, which contain encoded image files.

A function for each format yields the files as `Entry` values, and `Reader` turns them into images
and labels. The files are decoded in parallel while the archive is read. The images are sorted by
name, as those of a folder are.
"""

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxlabel.data import images as image_module
from jaxlabel.data.dataset import Images, Options, Source, Unread
from jaxlabel.data.decoded import decoded_archive
from jaxlabel.data.decoding import decoding_threads, log_unread, read_picture, why_unreadable
from jaxlabel.data.prices import price_notes
from jaxlabel.errors import DataError, NoLabels
from jaxlabel.oracle.names import class_notes

TOGETHER = 16  # pictures that a thread decodes one after the other
TOGETHER_BYTES = 16_000_000  # a group with so many encoded bytes gets no further picture
PENDING = 4  # groups of so many pictures that are read ahead for each thread
PENDING_BYTES = 256_000_000  # encoded bytes that are read ahead for all threads
# What to do if a picture of a split has no label, though the data set has labels.
ADVICE = {
    "train": "label every training picture, or remove the column (or the files) of labels: then a "
    "person is asked",
    "test": "label every test picture, or none of them (then no test accuracy is measured)",
}


class Entry(NamedTuple):
    """An encoded picture in an archive or a table.

    Attributes:
      name: the path in the archive, or the row number in the table; pictures are sorted by it.
      content: the bytes of the picture's file.
      label: the name of its class; None if it has no label.
      split: "train" or "test".
      cost: the price of its label; None if the archive or table states none.
      fault: why the table's row gives no content, such as a file that is missing; empty if it does.
    """

    name: str
    content: bytes
    label: str | None = None
    split: str = "train"
    cost: float | None = None
    fault: str = ""


# A picture without its bytes, and its image, or a text that says why it cannot be read.
Decoded = tuple[Entry, Images | str]


class Reader:
    """A reader of one archive or table format, such as "zip".

    It has the same functions as the modules that read other formats, such as `jaxlabel.data.npz`.

    Args:
      prefix: the name of the format in a spec: "zip" for "zip:FILE".
      entries: a function that yields the pictures at a location, such as the path of an archive.
      labelled: a function that returns True if the pictures at a location have labels.
      arrange: a function that is called when all pictures are read. It takes the list of pictures
        without their bytes, and returns it with the final names, labels and splits, and None for
        each picture to leave out.
      archives: a function that returns the files at a location, if these alone contain everything.
        Their decoded pictures are kept on disk for the next start.
      notes: a function that returns messages for the user, from a location and the names of all
        pictures.
    """

    def __init__(
        self,
        prefix: str,
        entries: Callable[[str], Iterable[Entry]],
        labelled: Callable[[str, Options], bool],
        arrange: Callable[[str, list[Entry], Options], list[Entry | None]] = lambda _, all, __: [
            *all
        ],
        archives: Callable[[str], Sequence[Path]] = lambda _: (),
        notes: Callable[[str, Sequence[str]], tuple[str, ...]] = lambda _, __: (),
    ):
        self.prefix, self._entries, self.has_labels = prefix, entries, labelled
        self._arrange, self._archives, self._notes = arrange, archives, notes

    def read(self, location: str, options: Options) -> Source:
        """Read all images; the labels are only used to list the names of the classes.

        Args:
          location: the file or files to read, the part of a spec after its first colon.
          options: the settings for reading images.

        Raises:
          DataError: the files cannot be read or hold no images.
        """
        source = decoded_archive(
            self._archives(location), f"{self.prefix}:{location}", options,
            lambda: self._read(location, options),
        )  # fmt: skip
        paths = [*source.paths, *source.test_paths, *(one.file for one in source.unread)]
        names = [path.removeprefix(f"{location}/") for path in paths]
        return source._replace(
            notes=(*self._notes(location, names), *class_notes(source.classes), *source.notes)
        )

    def _read(self, location: str, options: Options) -> Source:
        """Read and decode all images; the arguments are those of `read`."""
        spec = f"{self.prefix}:{location}"
        decoded = self._decoded(spec, location, options)
        unread = tuple(
            Unread(entry.split, f"{location}/{entry.name}", reason)
            for entry, reason in decoded
            if isinstance(reason, str)
        )
        log_unread(unread)
        found = [(entry, image) for entry, image in decoded if not isinstance(image, str)]
        train = [(entry.name, image) for entry, image in found if entry.split == "train"]
        test = [(entry.name, image) for entry, image in found if entry.split == "test"]
        if not train:
            skipped = f": {len(unread):,} pictures cannot be read" if unread else ""
            raise DataError(f"{spec} holds no images to train on{skipped}")
        train_images = image_module.merge(train, options.intensity)
        rule = train_images.intensity or options.intensity
        test_images = image_module.merge(test, rule) if test else None
        paths, test_paths = (
            tuple(f"{location}/{name}" for name, _ in split) for split in (train, test)
        )
        costs = [entry.cost for entry, _ in found if entry.split == "train"]
        priced = np.array([1.0 if cost is None else cost for cost in costs])
        notes = price_notes([cost for cost in costs if cost is not None], len(costs))
        if unread:
            notes += (f"{len(unread):,} pictures cannot be read and are left out",)
        return Source(
            train_images, test_images, _class_names(entry for entry, _ in decoded), paths,
            test_paths, notes, unread,
            costs=None if all(cost is None for cost in costs) else priced,
        )  # fmt: skip

    def labels(self, location: str, options: Options, split: str) -> np.ndarray:
        """Return the labels of the split "train" or "test", in the order of the images.

        A label is the index of the picture's class in the sorted names of all classes.

        Raises:
          NoLabels: no picture of the split has a label.
          DataError: the files cannot be read, or a picture of the split has no label.
        """
        spec = f"{self.prefix}:{location}"
        if not self.has_labels(location, options):
            raise NoLabels(f"{spec} has no labels")
        if options.skip_unreadable:  # `read` skips unreadable pictures, so their labels are skipped
            decoded = self._decoded(spec, location, options)
            listed = [entry for entry, _ in decoded]
            entries = [entry for entry, image in decoded if not isinstance(image, str)]
        else:
            listed = entries = self._arranged(location, options)
        chosen = [entry for entry in entries if entry.split == split]
        missing = [entry.name for entry in chosen if entry.label is None]
        if split == "test" and len(missing) == len(chosen):
            raise NoLabels(f"{spec} has no test labels")
        if missing:
            number, _, name = missing[0].partition("/")  # see `tables._entry`
            of_table = self.prefix in ("csv", "parquet") and number.isdecimal()
            place = (
                f"{spec}, row {int(number) + 1}: {name}" if of_table else f"{spec}: {missing[0]}"
            )
            raise DataError(f"{place} has no label: {ADVICE[split]}")
        numbers = {name: number for number, name in enumerate(_class_names(listed))}
        return np.array([numbers[str(entry.label)] for entry in chosen], np.int64)

    def class_names(self, location: str, options: Options) -> tuple[str, ...]:
        """Return the names of the classes, so that the name of label i is element i."""
        return _class_names(self._arranged(location, options))

    def _arranged(self, location: str, options: Options) -> list[Entry]:
        """Return all pictures with their final names, labels and splits, sorted by name.

        The bytes of the pictures are left out.
        """
        found = [entry._replace(content=b"") for entry in self._entries(location)]
        arranged = self._arrange(f"{self.prefix}:{location}", found, options)
        return sorted((entry for entry in arranged if entry is not None), key=attrgetter("name"))

    def _decoded(self, spec: str, location: str, options: Options) -> list[Decoded]:
        """Return pairs of a picture and its decoded image, sorted by the name of the picture.

        The pictures have their final names, labels and splits, and no bytes. If
        `options.skip_unreadable` is set, a picture that cannot be read has the reason in place of
        its image.
        """

        def decode(entry: Entry) -> Decoded:
            if entry.fault:
                if options.skip_unreadable:
                    return entry, entry.fault
                row = int(entry.name.partition("/")[0]) + 1  # see `tables._entry`
                raise DataError(f"{spec}, row {row}: {entry.fault}: set skip_unreadable to skip it")
            try:
                picture = read_picture(io.BytesIO(entry.content))
            except Exception as error:  # Pillow raises many types of exceptions
                if options.skip_unreadable:
                    return entry._replace(content=b""), why_unreadable(error)
                raise DataError(f"{spec}: {entry.name} cannot be read ({why_unreadable(error)}): "
                                "set skip_unreadable to skip it") from error  # fmt: skip
            single = image_module.single_image(picture.pixels, options)
            return entry._replace(content=b""), single._replace(notes=picture.notes)

        with decoding_threads() as pool:
            decoded = list(_decode_in_parallel(pool, decode, self._entries(location)))
        arranged = self._arrange(spec, [entry for entry, _ in decoded], options)
        pairs = [(entry, image) for entry, (_, image) in zip(arranged, decoded, strict=True)
                 if entry is not None]  # fmt: skip
        return sorted(pairs, key=lambda pair: pair[0].name)


def _decode_in_parallel(
    pool: ThreadPoolExecutor,
    decode: Callable[[Entry], Decoded],
    entries: Iterable[Entry],
) -> Iterator[Decoded]:
    """Yield `decode(entry)` for each entry in order, computed in parallel by the thread pool.

    At most `PENDING` (4) groups of entries for each thread, and `PENDING_BYTES` (256 MB) of encoded
    pictures, are in memory; a single group may have more bytes.
    """

    def decode_all(group: list[Entry]) -> list[Decoded]:
        return [decode(entry) for entry in group]

    most, waiting = PENDING * (os.cpu_count() or 1), 0
    pending = deque[tuple[Future[list[Decoded]], int]]()
    for group, size in _groups(entries):
        pending.append((pool.submit(decode_all, group), size))
        waiting += size
        while len(pending) >= most or (pending and waiting > PENDING_BYTES):
            future, done = pending.popleft()
            waiting -= done
            yield from future.result()
    for future, _ in pending:
        yield from future.result()


def _groups(entries: Iterable[Entry]) -> Iterator[tuple[list[Entry], int]]:
    """Yield groups of entries and the number of their encoded bytes.

    A thread gets a group of `TOGETHER` (16) entries at a time, because handing over a small picture
    takes as long as decoding it. Groups of large pictures have fewer.
    """
    group, size = list[Entry](), 0
    for entry in entries:
        group.append(entry)
        size += len(entry.content)
        if len(group) == TOGETHER or size >= TOGETHER_BYTES:
            yield group, size
            group, size = [], 0
    if group:
        yield group, size


def _class_names(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return the sorted names of the classes; names that are numbers come first, by value."""
    names = {entry.label for entry in entries if entry.label is not None}

    def place(name: str) -> tuple[int, str]:
        return int(name) if name.isdecimal() and len(name) < 18 else 10**18, name

    return tuple(sorted(names, key=place))
