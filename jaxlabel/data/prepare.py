"""Prepare MNIST, Fashion-MNIST and CIFAR-10 for tensorflow-datasets, without TensorFlow.

A prepared data set is read with the spec `tfds:NAME`. The builders in tensorflow-datasets need
TensorFlow to unpack and write files. The builders here write the same features under the same
names and versions, so that `tfds.data_source` reads the result too.
"""

import contextlib
import io
import os
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel.data.dataset import KNOWN_DATASETS
from jaxlabel.data.idx import read_idx
from jaxlabel.data.published import ARCHIVES, check, download
from jaxlabel.errors import DataError, did_you_mean


def prepare(name: str, manual_dir: str | None = None, data_dir: str | None = None) -> str:
    """Convert a published data set to tensorflow-datasets' format array_record.

    Afterwards, the spec `tfds:NAME` reads it.

    Args:
      name: "mnist", "fashion_mnist" or "cifar10".
      manual_dir: the folder of the published files; empty: the files are downloaded.
      data_dir: the folder for prepared data sets; empty: the default of tensorflow-datasets.

    Returns:
      A message for the user that names the folder of the converted data set.

    Raises:
      DataError: the name is unknown, or a file is missing, differs from the published file, or
        cannot be downloaded.
    """
    if name not in ARCHIVES:
        hint = did_you_mean(name, ARCHIVES)
        raise DataError(f"cannot prepare {name!r}{hint}: choose one of {', '.join(ARCHIVES)}")
    target = prepared_folder(data_dir)
    prepared = Path(target) / name / ARCHIVES[name].version
    if (prepared / "dataset_info.json").is_file():
        return f"{prepared} already exists: use it with --config.data=tfds:{name}"
    folder = Path(manual_dir).expanduser() if manual_dir else Path(target) / "downloads" / name
    if not manual_dir:
        download(name, folder)
    check(name, folder)
    _build(name, folder, target)
    return f"prepared {prepared}: use it with --config.data=tfds:{name}"


def prepared_folder(data_dir: str | None) -> str:
    """Return the folder of the data sets that are stored in the format of tensorflow-datasets.

    It is `data_dir`, or the default folder of tensorflow-datasets if `data_dir` is empty.
    """
    if data_dir:
        return str(Path(data_dir).expanduser())
    import tensorflow_datasets as tfds

    folder = os.path.expanduser(tfds.core.constants.DATA_DIR)
    if not os.path.isabs(folder):
        raise DataError("there is no home directory for data sets of tensorflow-datasets: name a "
                        "directory with data_dir")  # fmt: skip
    return folder


def examples(name: str, folder: Path, split: str) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the pair (image, label) of each example in the published files of a data set.

    An image is an array (h, w) or (h, w, 3).

    Args:
      name: "mnist", "fashion_mnist" or "cifar10".
      folder: the folder of the published files.
      split: "train" or "test".
    """
    if name == "cifar10":
        yield from _read_cifar10(folder / ARCHIVES[name].files[0].name, split)
        return
    stem = "train" if split == "train" else "t10k"
    images = read_idx(folder / f"{stem}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz")
    yield from zip(images, labels.tolist(), strict=True)


def _read_cifar10(archive: Path, split: str) -> Iterator[tuple[np.ndarray, int]]:
    """Yield pairs of an image (32, 32, 3) and its label from the binary files of CIFAR-10.

    A record is one label byte, then 1,024 bytes each for red, green and blue.
    """
    members = (
        [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]
    )
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name in members:
                stream = tar.extractfile(f"cifar-10-batches-bin/{name}")
                records = np.frombuffer(stream.read() if stream else b"", np.uint8)
                for record in records.reshape(-1, 3073):
                    yield record[1:].reshape(3, 32, 32).transpose(1, 2, 0), int(record[0])
    except (tarfile.TarError, KeyError, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{archive} is not CIFAR-10's binary version: {error}") from error


def _build(name: str, folder: Path, data_dir: str) -> None:
    import tensorflow_datasets as tfds
    from PIL import Image

    archive = ARCHIVES[name]
    features: dict[str, Any] = {
        "image": tfds.features.Image(shape=archive.shape),
        "label": tfds.features.ClassLabel(names=list(KNOWN_DATASETS[name][1])),
    }
    if name == "cifar10":
        features["id"] = tfds.features.Text()

    def rows(split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (image, label) in enumerate(examples(name, folder, split)):
            # tensorflow-datasets needs TensorFlow to encode arrays, but not for Pillow images.
            row = {"image": Image.fromarray(np.ascontiguousarray(image)), "label": label}
            yield index, row | ({"id": f"{split}_{index:05d}"} if "id" in features else {})

    def info(builder: Any) -> Any:
        return tfds.core.DatasetInfo(
            builder=builder,
            description=f"{name}, prepared by jaxlabel",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    members = {
        "VERSION": tfds.core.Version(archive.version),
        "name": name,
        "__module__": __name__,
        "_info": info,
        "_split_generators": lambda self, manager: {s: rows(s) for s in ("train", "test")},
        "_generate_examples": lambda self, split: rows(split),
    }
    with tfds.core.registered.skip_registration():
        builder_class = type(name, (tfds.core.GeneratorBasedBuilder,), members)
    builder = builder_class(data_dir=data_dir, file_format="array_record")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    # tensorflow-datasets prints that it downloads the data set, which is not the case here.
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
