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
from jaxlabel.experiment.run import run
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
    """Choose which images to label, buy their labels within a budget, and train a classifier.

    On a terminal and in a notebook, a `tqdm` bar shows the progress. Elsewhere, messages at level
    INFO go to the logger "jaxlabel".

    Args:
      images: the images without labels. Either an array: uint8 of shape (n, h, w) or (n, h, w, c)
        with 1 or 3 channels, or floats from 0 to 1 of these shapes. Or a string that says where the
        data set is: "digits", "folder:DIR", "zip:FILE", "tar:FILE", "csv:FILE", "parquet:FILE",
        "webdataset:PATTERN", "hf:NAME_OR_DIR", "npz:FILE", "idx:DIR" or "tfds:NAME". Arrays keep
        their size. Files of pictures are resized to 32x32 pixels (recipe "sgan": 28x28; recipe
        "medoids": not at all), unless `image_size` is given.
      ask: where the labels come from. A function: it gets an integer array of image indices and
        returns a label for each of them; it is called only for images whose labels the run buys,
        and only once for images with equal pixels. Or an array of the labels of all images: the run
        reads only the labels that it buys. Or an `Oracle`, an object that sells labels; then the
        oracle's budget applies. A label is a class name or an integer (see `classes`). None: the
        data set that `images` names has labels, as "digits" does.
      budget: the largest number of labels to buy or, if the labels have prices, the largest sum of
        prices. It is never exceeded. None: the budget of the recipe's configuration.
      recipe: the training method: "flagship", "semisup", "sgan", "scan" or "medoids". A variant of
        its settings may follow, such as "flagship:mnist". If there is none, the variant with the
        name of the data set is used. For arrays, and for data sets without such a variant, it is
        the variant "folder", which assumes little: it does not mirror images, and classes may
        differ in size.
      target: the accuracy, as a fraction, at which the run stops although the budget is not spent.
        None: the run spends the whole budget.
      confidence: the probability with which the certificate of the target must be right (0.95 by
        default). To certify the target, labels of random images are bought. 0: nothing is
        certified, and the run stops when the model's own confidence reaches the target.
      seed: the seed of all random numbers; runs with equal seeds give equal results.
      workdir: a directory for the files of the run. If a run is interrupted, the same call with the
        same directory continues it; if the run is finished, the call loads its result. None: a
        temporary directory, which is removed together with the result.
      classes: the names of all classes in order, if `ask` is a function or an array. A label is
        then one of these names or its position. An integer that could mean two different classes,
        as with `["1", "0"]`, is refused. If all names are integers, a label is one of these
        integers. None: every new label is a new class. If the networks have too few outputs for a
        new class, their training starts again.
      **settings: other settings of the recipe, such as `preset="tiny"`, `steps=800`, or
        `image_size=32` to resize large images. The command `jaxlabel train
        --config=configs/flagship.py --help` lists them.

    Returns:
      The result: the classifier, the labels that it gave to all images, and the list of bought
      labels.

    Raises:
      UsageError: the recipe or a setting does not exist (the message suggests a similar name), a
        value is not valid, the number of labels differs from the number of images, or `workdir`
        holds a run of other settings, images or classes.
      DataError: the images have a wrong shape or type or contain NaN, or a label is not a class.
      BudgetExceeded: the budget does not suffice for the first labels.
    """
    given = settings | {"budget": budget, "target": target, "confidence": confidence, "seed": seed}
    if isinstance(ask, Oracle):
        if budget is not None:
            raise UsageError("budget goes with labels; an Oracle has a budget of its own")
        given["budget"] = ask.budget
    place = running.Place(workdir)
    with running.specification(images) as spec:
        config = recipes.configuration(recipe, spec, given)
        answers = _make_answers(config, ask, Vocabulary(classes), place.path)
        run(config, place.path, answers=answers, progress=LibraryProgress())
    return Result(place.path, place)


def _make_answers(
    config: RunConfig, ask: Ask | None, vocabulary: Vocabulary, workdir: Path
) -> Answers:
    """Return an `Answers` object, which gives a run the labels that the user passed as `ask`.

    Raises:
      UsageError: `ask` is missing although the images have no labels, or it is given although the
        data set has labels of its own or the setting `labels` names a table of labels; or it is an
        oracle of other images, or of the same images in another order; or `vocabulary` has classes
        although the labels name them.
    """
    if config.labels and ask is not None:
        raise UsageError("labels names a table that answers: leave `ask` out")
    options = options_of(config)
    own = data.has_labels(config.data, options)
    if ask is None:
        if not own and not config.labels and config.budget > 0:
            raise UsageError("ask is missing: pass a function from indices to labels, an array of "
                             "labels or an Oracle")  # fmt: skip
        if own or config.labels:
            source = "a table" if config.labels else f"the data set {config.data}"
            _refuse_classes(vocabulary, source)
        return Answers()
    if isinstance(ask, Oracle):
        _refuse_classes(vocabulary, "the oracle's label store")
        if ask.items != data.load(config.data, options).train_items.tolist():
            raise UsageError("the oracle's items are not those of the images, in their order: make "
                             "it with the item ids of the same images")  # fmt: skip
        return Answers(oracle=ask)
    if own:
        raise UsageError(f"{config.data} brings its own labels: leave `ask` out, or pass the "
                         "images as an array")  # fmt: skip
    vocabulary.recall(workdir)
    if callable(ask):
        return running.by_question(vocabulary, workdir, ask)
    count = len(data.load(config.data, options).train_images)
    return running.by_array(vocabulary, workdir, ask, count)


def _refuse_classes(vocabulary: Vocabulary, source: str) -> None:
    """Raise a UsageError if the user gave the classes of labels whose `source` names them."""
    if vocabulary.fixed:
        raise UsageError(f"classes goes with labels that you pass as `ask`; here {source} names "
                         "the classes: leave `classes` out")  # fmt: skip
