"""Data sets that tensorflow-datasets has prepared, read without TensorFlow."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxlabel.data import images as pictures
from jaxlabel.data.dataset import Images, Options, Source
from jaxlabel.errors import DataError

BATCH = 4096  # records one by one take three times as long


def read(location: str, options: Options) -> Source:
    """The images of the splits "train" and "test" (or "validation"); no label is decoded.

    Raises:
      DataError: the data set is not prepared where `options.data_dir` says, or only for TensorFlow.
    """
    builder = _builder(location, options)
    if _split(builder, "train") is None:
        raise DataError(f"tfds:{location} has no split train, but {', '.join(builder.info.splits)}")
    train = _images(builder, location, "train", options)
    test_split = _split(builder, "test")
    test = _images(builder, location, test_split, options) if test_split else None
    key = _label_key(builder)
    return Source(train, test, tuple(builder.info.features[key].names) if key else ())


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """The labels of "train" or "test", in the order of the images.

    Raises:
      DataError: as `read`, or the data set has no single class label.
    """
    builder = _builder(location, options)
    key, name = _label_key(builder), _split(builder, split)
    if key is None or name is None:
        raise DataError(f"tfds:{location} has no {split} labels")
    return np.array(list(_feature(builder, location, name, key)), np.int64)


def has_labels(location: str, options: Options) -> bool:
    """Whether the data set has a class label."""
    return _label_key(_builder(location, options)) is not None


def _builder(location: str, options: Options) -> Any:
    import tensorflow_datasets as tfds

    from jaxlabel.data.prepare import place

    folder = place(options.data_dir)
    try:
        # From files alone: tfds.builder would import the data set's code, and look on the network.
        return tfds.core.read_only_builder.builder_from_files(location, data_dir=folder)
    except (tfds.core.registered.DatasetNotFoundError, ValueError) as error:
        raise DataError(f"tfds:{location} is not prepared in {folder}: "
                        f"{_todo(location, options)}") from error  # fmt: skip
    except Exception as error:  # its description is read by several parsers, each with its own
        raise _damaged(location, folder, error) from error


def _todo(location: str, options: Options) -> str:
    from jaxlabel.data.published import ARCHIVES

    name = location.split("/")[0].split(":")[0]
    if name not in ARCHIVES:
        return "prepare it with tensorflow-datasets and file_format='array_record'"
    data_dir = f" --data_dir={options.data_dir}" if options.data_dir else ""
    return f"run `jaxlabel data prepare --name={name}{data_dir}`"


def _damaged(location: str, folder: object, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"tfds:{location} in {folder} is damaged ({reason}): remove its folder and "
                     "prepare it again")  # fmt: skip


def _split(builder: Any, split: str) -> str | None:
    names = ("train",) if split == "train" else ("test", "validation")
    return next((name for name in names if name in builder.info.splits), None)


def _images(builder: Any, location: str, split: str, options: Options) -> Images:
    import tensorflow_datasets as tfds

    features = builder.info.features
    keys = [key for key in features if isinstance(features[key], tfds.features.Image)]
    if not keys:
        raise DataError(f"tfds:{location} has no images, but {', '.join(features)}")
    encoded = _feature(builder, location, split, keys[0])
    decoded = (pictures.decode(io.BytesIO(data)) for data in encoded)
    return pictures.merge(
        (f"{split} image {index}", pictures.one_of(picture, options))
        for index, picture in enumerate(decoded)
    )


def _label_key(builder: Any) -> str | None:
    import tensorflow_datasets as tfds

    features = builder.info.features
    found = [key for key in features if isinstance(features[key], tfds.features.ClassLabel)]
    return "label" if "label" in found else (found[0] if len(found) == 1 else None)


def _feature(builder: Any, location: str, split: str, key: str) -> Iterator[Any]:
    """One feature of each example as it is stored; the other features stay closed.

    The records are parsed here because the reader of tensorflow-datasets decodes every feature.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    try:
        source = builder.as_data_source(split, deserialize_method=raw)
    except NotImplementedError as error:
        raise DataError(f"tfds:{location} is prepared as {builder.info.file_format.value}, which "
                        "only TensorFlow reads: prepare it with file_format='array_record'"
                        ) from error  # fmt: skip
    for start in range(0, len(source), BATCH):
        indices = list(range(start, min(start + BATCH, len(source))))
        try:
            records = source.__getitems__(indices)
        except RuntimeError as error:
            raise _damaged(location, builder.data_dir, error) from error
        for record in records:
            value = tf_example_pb2.Example.FromString(record).features.feature[key]
            yield (value.bytes_list.value or value.int64_list.value)[0]
