"""Ask a person for labels by means of files: write questions.csv, and import the answers."""

import functools
import shlex
from collections.abc import Sequence
from pathlib import Path

from jaxlabel import data, files, oracle
from jaxlabel.data.dataset import Dataset, recorded_options
from jaxlabel.data.folder import file_of
from jaxlabel.errors import LabelsMissing, UsageError
from jaxlabel.experiment import person_time
from jaxlabel.experiment.account import naming_directory, read_run_record
from jaxlabel.oracle import LabelStore, import_answers
from jaxlabel.runlog.workdir import ASKED

QUESTIONS = "questions.csv"
PICTURES = "questions"  # the folder of queried images that are not separate files


def ask_person(error: LabelsMissing, workdir: Path, dataset: Dataset) -> LabelsMissing:
    """Write the images that need a label to questions.csv, and return (not raise) an exception.

    Args:
      error: the exception with which the run stopped; it lists the ids of the images.
      workdir: the run's directory, in which questions.csv is written.
      dataset: the data set, which has the file names of the images.

    Returns:
      An exception whose message tells the user how to fill in questions.csv and continue the run.
    """
    path_of = dict(zip(dataset.train_items.tolist(), dataset.paths, strict=False))
    # pictures in an archive or a table, and those of an array, are no files that a person can open
    inside = [item for item in error.items if file_of(path_of.get(item, "")) is None]
    path_of |= write_pictures(workdir, dataset, inside)
    paths = [path_of.get(item, "") for item in error.items]
    path = write_questions(workdir, error.items, paths, error.purpose)
    command = f"jaxlabel answer --workdir={shlex.quote(str(workdir))}"
    return LabelsMissing(
        f"{len(error.items)} image{'s are' if len(error.items) > 1 else ' is'} to be labelled by a "
        f"person: fill the column label of "
        f"{path}, then {command}, then the same command again",
        error.items,
    )


def write_questions(
    workdir: Path, items: Sequence[str], paths: Sequence[str], purpose: str = "train"
) -> Path:
    """Write the file questions.csv, in which a person writes labels of images; return its path.

    No file is written if the run asks the same question again, because the times of both files tell
    how long the person took (`person_time.note_file`).

    Args:
      workdir: the run's directory. The file questions.csv is written there, and the ids of the
        images are added to the file asked.json.
      items: the ids of the images that need a label.
      paths: the image file of each id; an empty string for an image that has no file of its own.
      purpose: the purpose of the labels, "train" or "certify", which asked.json records.
    """
    path, asked = workdir / QUESTIONS, files.read_json(workdir / ASKED) or {}
    now_asked = asked | dict.fromkeys(map(str, items), purpose)
    if now_asked != asked:  # first: the page reads the purposes as soon as questions.csv is new
        files.write_json(workdir / ASKED, now_asked)
    before = path.read_bytes() if path.exists() else b""
    oracle.write_questions(path, items, paths)
    if path.read_bytes() != before:
        # Written once more, to be newer than questions.csv: answers that it holds already then have
        # an unknown time, not a short one (`person_time.note_file`).
        files.write_json(workdir / ASKED, now_asked)
    return path


def write_pictures(workdir: Path, dataset: Dataset, items: Sequence[str]) -> dict[str, str]:
    """Write images that a person must label, and that are not separate files, as PNG files.

    Returns:
      A dict from the id of each image to its path in the folder questions of the run's directory.
    """
    import io

    from PIL import Image

    positions = {item: index for index, item in enumerate(dataset.train_items.tolist())}
    paths = {}
    for item in items:
        if item in positions:
            image = dataset.train_images[positions[item]]
            stream = io.BytesIO()
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "PNG")
            path = workdir / PICTURES / f"{item}.png"
            files.write(path, stream.getvalue(), durable=False)
            paths[item] = str(path)
    return paths


def answer(workdir: Path, labels: str | None = None) -> tuple[str, str]:
    """Import the labels that a person wrote in a file into a run's database of labels.

    The file may also correct labels that a person gave earlier. A correction is refused if some run
    has bought the label already, or if the run in `workdir` did not ask for the image's label.

    Args:
      workdir: the run's directory.
      labels: the path of a CSV file with the columns item and label, or of a JSON export of Label
        Studio (a name that ends with ".json"); None stands for the file questions.csv in `workdir`.

    Returns:
      A message that says how many labels were stored, and a message that lists the corrections that
      were refused. The second message is an empty string if none was refused.

    Raises:
      UsageError: the run has not started to buy labels, or questions.csv does not exist.
      DataError: the file is malformed or names an image that is not in the run's data set; or it
        names an image whose label the run did not ask for, and the images cannot be read to check
        this. In these cases, no label is stored.
    """
    from jaxlabel.oracle.votes import known_labels

    recorded = read_run_record(workdir)
    path = Path(labels) if labels else workdir / QUESTIONS
    store = LabelStore(recorded["store"])
    if not labels and not path.exists():
        raise UsageError(f"there is no {path}: jaxlabel train with that --workdir writes it where "
                         "it asks a person")  # fmt: skip
    if path.suffix.lower() == ".json":
        from jaxlabel.experiment.labelled import labelstudio

        path = labelstudio.to_answers(path, workdir / "labelstudio_answers.csv")
    items = LabelableImages(workdir)
    before = known_labels(store, recorded["label_set"], list(items.asked))
    counts = import_answers(store, recorded["label_set"], path, items, items.asked)
    new = known_labels(store, recorded["label_set"], list(items.asked)).keys() - before
    person_time.note_file(workdir, workdir / ASKED, Path(labels or path), sorted(new))
    lines = [f"{counts.added} answers stored, {counts.known} were there, {counts.blank} are open"]
    if counts.corrected:
        lines.append(f"{counts.corrected} answers put right")
    if counts.blank_words:
        lines.append(f"taken as open: cells that hold {' or '.join(counts.blank_words)}")
    if counts.respelt:
        shown = [f"{written!r} as {name!r}" for written, name in counts.respelt[:5]]
        more = f" and {len(counts.respelt) - 5} more" if len(counts.respelt) > 5 else ""
        lines.append(f"taken as a class in another spelling: {', '.join(shown)}{more}")
    if counts.new_classes:
        lines.append(f"new classes: {', '.join(counts.new_classes)}")
    refused = [f"line {r.line} says {r.answer}, it is {r.kept}" for r in counts.refused]
    more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
    refusal = (f"{path}: not stored, because a run has bought the label or another person gave it: "
               f"{', '.join(refused[:3])}{more}. All other answers are stored. A label that a run "
               "has bought stays as it is: to train on another, start a run in another workdir, as "
               "docs/budgets.md says under 'A label was wrong'")  # fmt: skip
    return "\n".join(lines), refusal if refused else ""


class LabelableImages:
    """The set of ids of the images that a person may label: all training images of one run.

    The only operation is the test `id in images`. It reads the images from disk only if the run has
    never asked a person for the label of this image; for example, because a spreadsheet program has
    changed the id.

    Args:
      workdir: the run's directory.

    Attributes:
      asked: the ids of the images for whose labels the run has asked a person.
    """

    def __init__(self, workdir: Path):
        self._workdir = workdir
        self.asked = set(files.read_json(workdir / ASKED) or ())

    def __contains__(self, item: object) -> bool:
        return item in self.asked or item in self._all

    @functools.cached_property
    def _all(self) -> set[str]:
        settings = files.read_settings(self._workdir)
        if settings is None:
            raise UsageError(f"{self._workdir} has lost its config.json, which names the data set")
        options = recorded_options(settings)
        with naming_directory(self._workdir, settings["data"]):
            return set(map(str, data.load(settings["data"], options).train_items))
