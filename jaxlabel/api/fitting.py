"""`jaxlabel.fit`: buy labels, train a classifier, and return it, in one call."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxlabel import data
from jaxlabel.api import recipes, running
from jaxlabel.api.labels import Vocabulary
from jaxlabel.api.progress import LibraryProgress
from jaxlabel.api.result import Result
from jaxlabel.config import RunConfig
from jaxlabel.data.dataset import options_of
from jaxlabel.errors import UsageError
from jaxlabel.experiment.answers import Answers
from jaxlabel.oracle import Oracle

Ask = Callable[[Any], Any] | Sequence[Any] | Oracle


def fit(
    images: Any,
    ask: Ask | None = None,
    *,
    budget: float | None = None,
    recipe: str = "flagship",
    target: float | None = None,
    confidence: float | None = None,
    seed: int = 0,
    workdir: str | Path | None = None,
    classes: Sequence[Any] | None = None,
    **settings: Any,
) -> Result:
    """Choose the images that are worth a label, buy their labels, and train a classifier.

    Progress is a `tqdm` bar on a terminal and in a notebook; elsewhere it goes to the logger
    "jaxlabel" at level INFO.

    Args:
      images: the images without labels: uint8 of shape (n, h, w) or (n, h, w, c) with 1 or 3
        channels, floats from 0 to 1 of such a shape, or a data specification as `--config.data`
        takes it: "digits", "folder:DIR", "npz:FILE", "idx:DIR" or "tfds:NAME".
      ask: who answers. A function that is given an integer array of indices of images and returns
        a label for each; it is called only for images that the recipe buys, and once for images
        that are equal. Or the labels of all images, of which the run sees and pays for only those
        that it asks about. Or an `Oracle`, whose own account then pays. A label is a class name
        or an integer (see `classes`). None where a specification brings its own labels, as
        "digits" does.
      budget: how many labels may be bought, or what they may cost where the store has prices; it
        is never overspent. None: as many as the recipe's configuration says.
      recipe: "flagship", "semisup", "sgan", "scan" or "medoids", with ":VARIANT" where wanted, as
        in "flagship:mnist". Without a variant it is the one named after the data set of a
        specification. For an array, and for a data set without one, it is "folder", whose settings
        suppose nothing: no image is mirrored, and classes need not be equally frequent.
      target: the accuracy, as a fraction, at which to stop early. None: spend the whole budget.
      confidence: with a target, how sure its certificate must be, as a fraction (0.95 by default);
        0: the model's own belief is enough and nothing is certified.
      seed: the seed of everything random; equal seeds give equal results.
      workdir: a directory that keeps the run, so that the same call goes on after a kill and a
        finished run is loaded. None: a temporary directory that is removed with the result.
      classes: the names of all classes in order. A label is then a name or its position, or, if
        all names are integers, one of these. None: each new label is a class; a recipe whose
        networks were built for fewer classes then begins their training again.
      **settings: any other settings of the recipe, such as `preset="tiny"`, `steps=800`, or
        `image_size=32` to resize large images. `jaxlabel train --config=configs/flagship.py --help`
        lists them.

    Returns:
      The classifier, the labels it gave to all images, and what was bought.

    Raises:
      UsageError: an unknown recipe or setting (the nearest name is given), a value that does not
        fit, labels of another number than the images.
      DataError: images of a wrong shape or type, NaN, a label that is no class.
      BudgetExceeded: the budget does not buy the first labels.
    """
    given = settings | {"budget": budget, "target": target, "confidence": confidence, "seed": seed}
    if isinstance(ask, Oracle):
        given["budget"] = _budget_of(ask, budget)
    place = running.Place(workdir)
    with running.specification(images) as spec:
        config = recipes.configuration(recipe, spec, given)
        answers = _answers(config, ask, Vocabulary(classes), place.path)
        running.train(config, place.path, answers, LibraryProgress())
    return Result(place.path, place)


def _answers(config: RunConfig, ask: Ask | None, vocabulary: Vocabulary, workdir: Path) -> Answers:
    """Return the source of labels that `ask` stands for."""
    own = running.has_own_labels(config)
    if ask is None:
        if not own and config.budget > 0:
            raise UsageError("ask is missing: pass a function from indices to labels, an array of "
                             "labels or an Oracle")  # fmt: skip
        return Answers()
    options = options_of(config)
    if isinstance(ask, Oracle):
        items = data.load(config.data, options).train_items.tolist()
        return running.by_oracle(ask, config, items)
    if own:
        raise UsageError(f"{config.data} brings its own labels: leave `ask` out, or pass the "
                         "images as an array")  # fmt: skip
    vocabulary.recall(workdir)
    if callable(ask):
        return running.by_question(vocabulary, workdir, ask)
    count = len(data.load(config.data, options).train_images)
    return running.by_array(vocabulary, workdir, ask, count)


def _budget_of(oracle: Oracle, budget: float | None) -> float:
    if budget is not None:
        raise UsageError("budget goes with labels; an Oracle has a budget of its own")
    return oracle.store.account(oracle.account).budget
