"""Read data sets that tensorflow-datasets has prepared, without TensorFlow."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxlabel.data import images as image_module
from jaxlabel.data.dataset import Images, Options, Source
from jaxlabel.data.decoding import read_picture, without_size_warnings
from jaxlabel.errors import DataError, NoLabels, reason_of

BATCH = 4096  # records that are read at a time; reading them singly takes three times as long


def read(location: str, options: Options) -> Source:
    """Read the images of a data set of tensorflow-datasets (TFDS), without decoding labels.

    The splits are "train" and "test". If there is no split "test", the split "validation" is used
    instead.

    Args:
      location: the data set's name in TFDS, with its configuration and version if needed, such as
        "mnist" or "mnist:3.0.1".
      options: the settings for reading images, and the folder of prepared data sets.

    Raises:
      DataError: the data set is not prepared in `options.data_dir`, or it is prepared in a format
        that only TensorFlow reads.
    """
    builder = _builder(location, options)
    if _split_name(builder, "train") is None:
        raise DataError(f"tfds:{location} has no split train, but {', '.join(builder.info.splits)}")
    train = _read_images(builder, location, "train", options)
    test_split = _split_name(builder, "test")
    options = options._replace(intensity=train.intensity or options.intensity)
    test = _read_images(builder, location, test_split, options) if test_split else None
    key = _label_key(builder)
    unused = [name for name in builder.info.splits if name not in ("train", test_split)]
    notes = (f"tfds:{location}: splits that are not read: {', '.join(unused)}",) if unused else ()
    classes = tuple(builder.info.features[key].names) if key else ()
    return Source(train, test, classes, notes=notes)


def labels(location: str, options: Options, split: str) -> np.ndarray:
    """Return the labels of the split "train" or "test" of a TFDS data set, in image order.

    Raises:
      NoLabels: the data set has no class label, or several that are not called "label".
      DataError: the data set cannot be read.
    """
    builder = _builder(location, options)
    key, name = _label_key(builder), _split_name(builder, split)
    if key is None or name is None:
        raise NoLabels(f"tfds:{location} has no {split} labels")
    return np.array(list(_read_feature(builder, location, name, key)), np.int64)


def class_names(location: str, options: Options) -> tuple[str, ...]:
    """Return the class names of a TFDS data set, so that the name of label i is element i."""
    builder = _builder(location, options)
    key = _label_key(builder)
    return tuple(builder.info.features[key].names) if key else ()


def has_labels(location: str, options: Options) -> bool:
    """Return True if the TFDS data set has a class label."""
    return _label_key(_builder(location, options)) is not None


def _builder(location: str, options: Options) -> Any:
    import tensorflow_datasets as tfds

    from jaxlabel.data.prepare import prepared_folder

    folder = prepared_folder(options.data_dir)
    try:
        # tfds.builder would import the data set's code and use the network; this reads files only.
        return tfds.core.read_only_builder.builder_from_files(location, data_dir=folder)
    except (tfds.core.registered.DatasetNotFoundError, ValueError) as error:
        raise DataError(f"tfds:{location} is not prepared in {folder}: "
                        f"{_advice(location, options)}") from error  # fmt: skip
    except Exception as error:  # the parsers of its description raise many types of exceptions
        raise _damaged_error(location, folder, error) from error


def _advice(location: str, options: Options) -> str:
    from jaxlabel.data.published import ARCHIVES

    name = location.split("/")[0].split(":")[0]
    if name not in ARCHIVES:
        return "prepare it with tensorflow-datasets and file_format='array_record'"
    data_dir = f" --data_dir={options.data_dir}" if options.data_dir else ""
    return f"run `jaxlabel data prepare --name={name}{data_dir}`"


def _damaged_error(location: str, folder: object, error: Exception) -> DataError:
    return DataError(f"tfds:{location} in {folder} is damaged ({reason_of(error)}): remove its "
                     "folder and prepare it again")  # fmt: skip


def _split_name(builder: Any, split: str) -> str | None:
    names = ("train",) if split == "train" else ("test", "validation")
    return next((name for name in names if name in builder.info.splits), None)


def _read_images(builder: Any, location: str, split: str, options: Options) -> Images:
    import tensorflow_datasets as tfds

    features = builder.info.features
    keys = [key for key in features if isinstance(features[key], tfds.features.Image)]
    if not keys:
        raise DataError(f"tfds:{location} has no images, but {', '.join(features)}")
    encoded = _read_feature(builder, location, split, keys[0])
    decoded = (read_picture(io.BytesIO(data)).pixels for data in encoded)
    singles = (
        (f"{split} image {index}", image_module.single_image(picture, options))
        for index, picture in enumerate(decoded)
    )
    with without_size_warnings():
        return image_module.merge(singles, options.intensity)


def _label_key(builder: Any) -> str | None:
    import tensorflow_datasets as tfds

    features = builder.info.features
    keys = [key for key in features if isinstance(features[key], tfds.features.ClassLabel)]
    return "label" if "label" in keys else (keys[0] if len(keys) == 1 else None)


def _read_feature(builder: Any, location: str, split: str, key: str) -> Iterator[Any]:
    """Yield the stored bytes of one feature of each example of a TFDS data set.

    The records are parsed here because the reader of tensorflow-datasets decodes every feature,
    which includes the label.
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
            raise _damaged_error(location, builder.data_dir, error) from error
        for record in records:
            value = tf_example_pb2.Example.FromString(record).features.feature[key]
            yield (value.bytes_list.value or value.int64_list.value)[0]
