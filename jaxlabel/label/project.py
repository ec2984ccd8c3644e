"""What the page works on: the pictures, the run's settings, its label store and its account."""

import hashlib
import io
import mimetypes
import os
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlabel import data, files
from jaxlabel.data.dataset import Dataset, Options
from jaxlabel.errors import JaxlabelError, UsageError
from jaxlabel.experiment import account
from jaxlabel.experiment.run import settings_without_password
from jaxlabel.label.features import cover, gradient_features
from jaxlabel.oracle import LabelStore
from jaxlabel.runlog import dataset_snapshot
from jaxlabel.runlog import workdir as workdirs

# Picture formats that every browser shows; others are sent as PNG.
FOR_BROWSERS = (".png", ".jpg", ".jpeg", ".jfif", ".gif", ".webp", ".bmp")
PAGE = "page"  # the page's own folder in the work directory
PATIENCE = 15.0  # seconds to wait for the child of a page that was killed


class Project(NamedTuple):
    """The pictures and the run that one page serves.

    Attributes:
      rows: the first row of each item; copies of a picture are one item.
      copies: how many pictures each item has.
      features: cheap features of each row (`gradient_features`).
      first: the rows that the run's first batch asks about, chosen by coverage.
    """

    settings: Any
    workdir: Path
    dataset: Dataset
    items: list[str]
    rows: dict[str, int]
    copies: Counter[str]
    features: Float[np.ndarray, "n d"]
    first: list[int]
    store: LabelStore
    account: str

    @property
    def label_set(self) -> str:
        """The name under which the label store keeps the labels."""
        return self.dataset.name

    def duplicates(self) -> np.ndarray:
        """Return the rows that are copies of an earlier row."""
        return np.setdiff1d(np.arange(len(self.items)), np.fromiter(self.rows.values(), int))


def begin(settings: Any, workdir: Path) -> Project:
    """Read the pictures and open the run in `workdir`, as `jaxlabel train` would.

    Raises:
      UsageError: the directory holds another run, or another process uses it.
      DataError, StoreError: the pictures or the label store cannot be used.
    """
    options = Options(**{name: getattr(settings, name) for name in Options._fields})
    if data.has_labels(settings.data, options):
        raise UsageError(
            f"{settings.data} has labels of its own: jaxlabel train asks them, and nobody is needed"
        )
    workdirs.check_is_run_directory(workdir)
    dataset, features = _read(settings.data, options, workdir)
    lock = _lock(workdir)
    try:
        workdirs.write_or_check_config(workdir, settings_without_password(settings))
        dataset_before = dataset
        dataset = dataset_snapshot.in_first_order(dataset, settings.data, workdir)
        if dataset is not dataset_before:
            features = gradient_features(dataset.train_images)
        url = account.store_url(settings.store, workdir)
        store = LabelStore(url)
        payer = account.account_name(settings.account, workdir, dataset, url)
        store.open_account(payer, dataset.name, settings.budget)
    finally:
        os.close(lock)
    items = dataset.train_items.tolist()
    rows = {item: row for row, item in reversed(list(enumerate(items)))}
    project = Project(
        settings, workdir, dataset, items, rows, Counter(items), features, [], store, payer
    )
    return project._replace(first=_first_batch_as_begun(project))


def hold_page(workdir: Path) -> int:
    """Return a descriptor that keeps other pages out of the directory while it is open.

    Raises:
      UsageError: another process serves a page of this directory.
    """
    return workdirs.take_lock(workdir / PAGE)


def _lock(workdir: Path) -> int:
    """Take the run's lock; the child of a page that was killed needs a moment to end."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return workdirs.take_lock(workdir)
        except UsageError:
            if not (workdir / PAGE).is_dir() or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _first_batch_as_begun(project: Project) -> list[int]:
    """Return the first batch that was chosen when the page began, or choose it now.

    A run that `jaxlabel train` began has chosen its own, and the page adds none.
    """
    path = project.workdir / PAGE / "first.json"
    kept = files.read_json(path)
    if kept is None:
        begun = (project.workdir / "checkpoints" / "asked_0").exists()
        chosen = [] if begun else first_batch(project)
        kept = {"items": [project.items[row] for row in chosen]}
        files.write_json(path, kept, durable=False)
    return [project.rows[item] for item in kept["items"] if item in project.rows]


def first_batch(project: Project) -> list[int]:
    """Choose the pictures of the run's first batch; the same at every start.

    A recipe without a first batch of its own (`initial_labels`) gets none.
    """
    wanted = getattr(project.settings, "initial_labels", 0)
    wanted = int(min(wanted, project.settings.budget, len(project.rows)))
    if getattr(project.settings, "target", 0) and getattr(project.settings, "confidence", 0):
        kept = getattr(project.settings, "audit_share", 0.0)  # labels kept for the certificate
        capacity = min(project.settings.budget, len(project.rows))
        wanted = min(wanted, max(1, int(capacity - kept * capacity)))
    nobody = np.zeros(0, int)
    chosen = cover(
        project.features, wanted, nobody, project.duplicates(), seed=project.settings.seed
    )
    return [int(row) for row in chosen]


def _read(spec: str, options: Options, workdir: Path) -> tuple[Dataset, np.ndarray]:
    """Read the pictures and their features, or take both from an earlier start's copy."""
    cache = workdir / PAGE / "pictures.npz"
    mark = _fingerprint(spec, options)
    if mark and cache.exists():
        try:
            with np.load(cache, allow_pickle=False) as kept:
                if str(kept["mark"]) == mark:
                    texts = [str(kept[n]) for n in ("name", "kind")]
                    lists = [tuple(map(str, kept[n].tolist())) for n in ("classes", "paths")]
                    dataset = Dataset(
                        texts[0], texts[1], lists[0], kept["images"], kept["items"],
                        kept["tests"], lists[1],
                    )  # fmt: skip
                    return dataset, kept["features"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            pass  # a broken copy is written again
    dataset = data.load(spec, options)
    features = gradient_features(dataset.train_images)
    if mark:
        content = io.BytesIO()
        np.savez(
            content, mark=mark, name=dataset.name, kind=dataset.kind,
            classes=np.array(dataset.classes, str), paths=np.array(dataset.paths, str),
            images=dataset.train_images, items=dataset.train_items, tests=dataset.test_images,
            features=features,
        )  # fmt: skip
        _keep_later(cache, content.getvalue())
    return dataset, features


def _keep_later(cache: Path, content: bytes) -> None:
    """Write the copy in the background, so that nobody waits for the disk."""
    import threading

    def write() -> None:
        try:
            files.write(cache, content, durable=False)
        except JaxlabelError:
            cache.unlink(missing_ok=True)  # the next start reads the pictures again

    threading.Timer(3.0, write).start()


def _fingerprint(spec: str, options: Options) -> str:
    """Return a digest of a folder's file names, sizes and times; empty for other data."""
    prefix, _, location = spec.partition(":")
    if prefix != "folder":
        return ""
    digest = hashlib.blake2b(repr((spec, tuple(options))).encode(), digest_size=16)
    for place, folders, names in os.walk(Path(location).expanduser(), followlinks=False):
        folders.sort()
        with os.scandir(place) as entries:
            found = sorted(
                (os.fsencode(e.name), e.stat().st_size, e.stat().st_mtime_ns)
                for e in entries
                if e.is_file()
            )
        digest.update(repr((os.fsencode(place), found, len(names))).encode())
    return digest.hexdigest()


def picture(project: Project, item: str) -> tuple[bytes, str] | None:
    """Return the bytes and media type of an item's original picture; None for no such item.

    An array's picture, and a format that browsers do not show, comes as PNG.
    """
    row = project.rows.get(item)
    if row is None:
        return None
    path = Path(project.dataset.paths[row]) if project.dataset.paths else None
    if path is not None and path.suffix.lower() in FOR_BROWSERS:
        try:
            kind = mimetypes.guess_type(f"x{path.suffix.lower()}")[0] or "image/jpeg"
            return path.read_bytes(), kind
        except OSError:
            path = None
    return _png(project, row, path), "image/png"


def _png(project: Project, row: int, path: Path | None) -> bytes:
    from PIL import Image

    from jaxlabel.data.images import decode

    pixels = project.dataset.train_images[row]
    if path is not None:
        try:
            pixels = decode(path)
        except Exception:  # Pillow raises nearly anything; the array is there instead
            pixels = project.dataset.train_images[row]
    content = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(content, "PNG")
    return content.getvalue()
