"""Read feature vectors that another program computed, from NPY, NPZ and Parquet files.

No labels are read: a column or an array of labels in the file is ignored.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlabel.data.tables import open_parquet
from jaxlabel.errors import DataError, reason_of

TRAIN = ("train", "train_features", "features", "embeddings")
TEST = ("test", "test_features")
TRAIN_NAMES = ("train_names", "names", "files", "paths")
TEST_NAMES = ("test_names", "test_files", "test_paths")
VECTOR_COLUMNS = ("features", "embedding", "embeddings", "vector")
NAME_COLUMNS = ("file", "file_name", "filename", "path", "image", "name")


class Rows(NamedTuple):
    """Feature vectors, one row per image.

    Attributes:
      values: the feature vectors.
      names: the file of each row's image; None if the rows are in the order of the images.
    """

    values: Float[np.ndarray, "n d"]
    names: tuple[str, ...] | None = None


class FeatureFile(NamedTuple):
    """The feature vectors in a file.

    Attributes:
      train: the rows of the training images. If the file does not tell training and test images
        apart, this has all rows of the file.
      test: the rows of the test images; None if the file does not tell them apart.
    """

    train: Rows
    test: Rows | None = None


def read(location: str) -> FeatureFile:
    """Read the feature vectors in an NPY, NPZ or Parquet file, and check that they are numbers.

    NPY holds one array with a row per image. NPZ holds an array `train` (or `features`) and
    optionally `test`, with the file names of the rows in `train_names` (or `names`) and
    `test_names`. Parquet holds a column of lists (`features` or `embedding`) or numbered columns
    (`f0`, `f1`, ...), and optionally the file names in a column `file` (or `path`).

    Args:
      location: the path of the file, which ends with .npy, .npz or .parquet.

    Raises:
      DataError: the file does not exist, has another format, is damaged, or holds text, NaN or
        infinity in place of numbers.
    """
    file = Path(location).expanduser()
    readers: dict[str, Callable[[Path], FeatureFile]] = {
        ".npy": _read_arrays, ".npz": _read_arrays, ".parquet": _read_parquet
    }  # fmt: skip
    if (reader := readers.get(file.suffix.lower())) is None:
        raise DataError(f"features {location}: they are read from {', '.join(readers)} files")
    if not file.is_file():
        raise DataError(f"features {location}: there is no such file")
    train, test = reader(file)
    train = _checked(train, location)
    if test is None:
        return FeatureFile(train)
    test = _checked(test, location)
    if train.values.shape[1] != test.values.shape[1]:
        raise DataError(f"features {location}: training rows have {train.values.shape[1]} numbers, "
                        f"test rows {test.values.shape[1]}")  # fmt: skip
    return FeatureFile(train, test)


def _read_arrays(file: Path) -> FeatureFile:
    arrays, names = _load(file)
    train, test = _first(arrays, TRAIN), _first(arrays, TEST)
    if train is None:
        raise DataError(f"features {file} has no array {TRAIN[0]} or features, but "
                        f"{', '.join(names) or 'nothing'}")  # fmt: skip
    rows = Rows(train, _names(_first(arrays, TRAIN_NAMES)))
    if test is None:
        return FeatureFile(rows)
    return FeatureFile(rows, Rows(test, _names(_first(arrays, TEST_NAMES))))


def _load(file: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the arrays of an NPY or NPZ file that have a known name.

    A file with a single array has no names; the array is taken as `train`.

    Returns:
      A dict from name to array, and the names of all arrays of the file.
    """
    known = (*TRAIN, *TEST, *TRAIN_NAMES, *TEST_NAMES)
    try:
        with file.open("rb") as stream:  # numpy leaves a damaged file open
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {TRAIN[0]: loaded}, []
            return {name: loaded[name] for name in known if name in loaded.files}, loaded.files
    except Exception as error:  # a damaged file raises many types of exceptions
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(f"features {file} cannot be read ({reason_of(error)}): write it again")


def _first(arrays: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _names(array: np.ndarray | None) -> tuple[str, ...] | None:
    return None if array is None else tuple(map(str, array.ravel().tolist()))


def _read_parquet(file: Path) -> FeatureFile:
    import pyarrow

    with open_parquet(str(file)) as source:
        schema = source.schema_arrow
        columns = _vector_columns(file, schema)
        texts = [field.name for field in schema
                 if pyarrow.types.is_string(field.type) or pyarrow.types.is_large_string(field.type)
                 ]  # fmt: skip
        by_name = {name.casefold(): name for name in reversed(texts) if name not in columns}
        name = next((by_name[known] for known in NAME_COLUMNS if known in by_name), None)
        try:
            table = source.read(columns=[*columns, *([name] if name else [])])
        except (OSError, ValueError) as error:  # pyarrow's errors are subclasses of these
            raise _unreadable(file, error) from error
    names = tuple(map(str, table[name].to_pylist())) if name else None
    if len(columns) == 1:
        return FeatureFile(Rows(_matrix(file, table[columns[0]].combine_chunks()), names))
    parts = [table[column].to_numpy() for column in columns]
    return FeatureFile(Rows(np.stack(parts, axis=1), names))


def _vector_columns(file: Path, schema: Any) -> list[str]:
    """Return the names of the columns with features: one column of lists, or numbered columns.

    Numbered columns are called 0, 1, 2 and so on, after any common prefix, as in f0, f1, f2. All
    other columns are left out, so that a column of labels never becomes a feature.

    Raises:
      DataError: there are no such columns, or several columns of lists.
    """
    import pyarrow

    lists = [field.name for field in schema
             if pyarrow.types.is_list(field.type) or pyarrow.types.is_large_list(field.type)
             or pyarrow.types.is_fixed_size_list(field.type)]  # fmt: skip
    known = [name for name in lists if name.casefold() in VECTOR_COLUMNS]
    if len(chosen := known or lists) == 1:
        return chosen
    numbered: dict[str, dict[int, str]] = {}
    for name in schema.names:
        if match := re.fullmatch(r"(.*?)(\d+)", name):
            numbered.setdefault(match[1], {})[int(match[2])] = name
    largest = max(numbered.values(), key=len, default={})
    if lists or len(largest) < 2:
        raise DataError(f"features {file} has the columns {', '.join(schema.names) or 'none'}: "
                        "call the column with the lists of numbers features")  # fmt: skip
    return [largest[number] for number in sorted(largest)]


def _matrix(file: Path, column: Any) -> np.ndarray:
    """Return the lists in a column of a table as the rows of an array.

    Raises:
      DataError: a row has no list, or two lists have different lengths.
    """
    from pyarrow import compute

    lengths = compute.list_value_length(column)
    distinct = lengths.unique().to_pylist()
    if None in distinct or len(distinct) != 1:
        fault = "has rows without features" if None in distinct else "has rows of different lengths"
        raise DataError(f"features {file} {fault}: every row takes the same number of numbers")
    values = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values).reshape(len(column), distinct[0])


def _checked(rows: Rows, location: str) -> Rows:
    """Return feature vectors as float32, after checking that each row has finite numbers.

    Raises:
      DataError: the array has another shape or type, holds NaN or infinity, or has more or fewer
        rows than names.
    """
    values, names = rows
    if values.dtype.kind in "OUST":
        raise DataError(f"features {location} holds text: it takes numbers, a row per image")
    if values.dtype.kind not in "fiu":
        raise DataError(f"features {location} holds {values.dtype}: it takes real numbers")
    if values.ndim != 2 or 0 in values.shape:
        raise DataError(f"features {location} has the shape {values.shape}: it takes a row of "
                        "numbers per image, (images, numbers)")  # fmt: skip
    if names is not None and len(names) != len(values):
        raise DataError(f"features {location} has {len(values):,} rows and {len(names):,} names")
    with np.errstate(over="ignore"):  # a number too large for float32 is reported as infinity
        values = np.ascontiguousarray(values, np.float32)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        which = f" ({names[bad[0]]})" if names else ""
        raise DataError(f"features {location}: {len(bad):,} rows hold NaN or infinity, the first "
                        f"is row {bad[0] + 1:,}{which}")  # fmt: skip
    return Rows(values, names)
