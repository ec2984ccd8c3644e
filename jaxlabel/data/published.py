"""Download and verify the published files of MNIST, Fashion-MNIST and CIFAR-10."""

import hashlib
import threading
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError

from jaxlabel.errors import DataError

TIMEOUT = 10.0  # seconds without a response after which the network counts as unavailable


class File(NamedTuple):
    """A file of a data set that its authors have published.

    Attributes:
      name: the file's name.
      size: its length in bytes.
      sha256: its SHA-256 in hexadecimal digits.
    """

    name: str
    size: int
    sha256: str


class Archive(NamedTuple):
    """The list of files of a data set that its authors have published.

    Attributes:
      url: the web address of the folder of the files.
      version: the version number of the data set in tensorflow-datasets.
      shape: height, width and channels of an image.
      files: the files, with their lengths and hashes.
    """

    url: str
    version: str
    shape: tuple[int, int, int]
    files: tuple[File, ...]


ARCHIVES = {
    "mnist": Archive("https://storage.googleapis.com/cvdf-datasets/mnist/", "3.0.1", (28, 28, 1), (
        File("train-images-idx3-ubyte.gz", 9912422,
             "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        File("train-labels-idx1-ubyte.gz", 28881,
             "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        File("t10k-images-idx3-ubyte.gz", 1648877,
             "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        File("t10k-labels-idx1-ubyte.gz", 4542,
             "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    )),
    "fashion_mnist": Archive(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", "3.0.1", (28, 28, 1), (
        File("train-images-idx3-ubyte.gz", 26421880,
             "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        File("train-labels-idx1-ubyte.gz", 29515,
             "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        File("t10k-images-idx3-ubyte.gz", 4422102,
             "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        File("t10k-labels-idx1-ubyte.gz", 5148,
             "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    )),
    "cifar10": Archive("https://www.cs.toronto.edu/~kriz/", "3.0.2", (32, 32, 3), (
        File("cifar-10-binary.tar.gz", 170052171,
             "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    )),
}  # fmt: skip


def check(name: str, folder: Path) -> None:
    """Check by length and SHA-256 that a folder has the published files of a data set.

    Raises:
      DataError: a file is missing, or differs from the published file in length or content.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    missing = [f.name for f in ARCHIVES[name].files if not (folder / f.name).is_file()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}: download from {ARCHIVES[name].url}")
    for file in ARCHIVES[name].files:
        _check_file(folder / file.name, file)


def _check_file(path: Path, file: File) -> None:
    size = path.stat().st_size
    if size != file.size:
        raise DataError(f"{path} has {size:,} bytes, the published file {file.size:,}: "
                        "it is cut short or another file; fetch it again")  # fmt: skip
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 != file.sha256:
        raise DataError(f"{path} has the SHA-256 {sha256[:12]}..., the published file "
                        f"{file.sha256[:12]}...: fetch it again")  # fmt: skip


def download(name: str, folder: Path) -> None:
    """Download the published files of a data set that are not yet in a folder.

    Files are written atomically: an interrupted download leaves no incomplete file under its name.

    Raises:
      DataError: the network does not respond within 10 s, or a downloaded file differs from the
        published one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in ARCHIVES[name].files:
        path, part = folder / file.name, folder / f"{file.name}.part"
        if path.is_file():
            continue
        url = ARCHIVES[name].url + file.name
        try:
            _fetch(url, part, file.size)
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(error, HTTPError):
                error.close()  # an HTTPError is also the response, with an open connection
            names = ", ".join(f.name for f in ARCHIVES[name].files)
            raise DataError(f"cannot fetch {url} ({reason}): without network, put {names} into "
                            "a folder and set --manual_dir=DIR") from error  # fmt: skip
        _check_file(part, file)
        part.replace(path)


def _fetch(url: str, part: Path, size: int) -> None:
    from tqdm import tqdm

    with (
        _open(url) as response,
        part.open("wb") as out,
        tqdm(total=size, unit="B", unit_scale=True, desc=part.stem, disable=None) as progress,
    ):
        while chunk := response.read(1 << 20):
            progress.update(out.write(chunk))


def _open(url: str) -> Any:
    """Open a URL and return the response, or raise TimeoutError after 10 s.

    The URL is opened in a thread, because the timeout of `urlopen` does not cover the look-up of
    the host name, which may take 30 s.
    """
    outcome: list[Any] = []

    def request() -> None:
        try:
            outcome.append(urllib.request.urlopen(url, timeout=TIMEOUT))
        except (OSError, HTTPException) as error:
            outcome.append(error)

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    if not outcome:
        raise TimeoutError(f"no response in {TIMEOUT:g} s")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]
