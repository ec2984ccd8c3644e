"""Execute one run: load the images, buy labels, train, evaluate, and write the report."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxlabel import cache, config, data, files, train
from jaxlabel.data import importing
from jaxlabel.data.dataset import Dataset, Options, options_of
from jaxlabel.errors import JaxlabelError, LabelsMissing, UsageError
from jaxlabel.experiment import account
from jaxlabel.experiment.answers import Answers
from jaxlabel.methods import (
    active,
    clusters,
    encoder,
    medoids,
    representatives,
    scan,
    semisup,
    sgan,
    simclr,
)
from jaxlabel.oracle import LabelStore, Oracle, spending
from jaxlabel.predictor import Predictor, predict_probabilities
from jaxlabel.report import evaluate, write_report
from jaxlabel.report.clusters import clusters_csv
from jaxlabel.runlog import RunLog, dataset_snapshot, open_workdir, provenance
from jaxlabel.runlog.progress import Progress
from jaxlabel.runlog.results import KEYS

RECIPES = (medoids, representatives, encoder, clusters, sgan, simclr, scan, semisup, active)
METHODS = {module.Config: module.run for module in RECIPES}


def run(
    settings: config.RunConfig,
    workdir: Path,
    *,
    answers: Answers | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Execute a run, write its result.json and report.html, and return the result.

    A run that was killed continues from its last checkpoint. A finished run is not repeated: its
    result is read from WORKDIR/result.json. Progress goes to the run's log, which writes it to
    standard error; nothing is printed on standard output.

    Args:
      settings: the configuration of the recipe.
      workdir: the directory that holds all files of the run.
      answers: where labels come from that the store lacks; None: from the data set, or a person.
      progress: shows the steps and messages of the run; None: on standard error.

    Raises:
      UsageError: a setting does not fit, or the directory holds another run.
      DataError, StoreError: the images or the label store cannot be used.
      LabelsMissing: a person must label images first; they are listed in WORKDIR/questions.csv.
    """
    config.validate(settings)
    options = options_of(settings)
    # Load the data before config.json is written: a misspelled path must not claim the directory.
    dataset = None if (workdir / "config.json").exists() else data.load(settings.data, options)
    cache.begin(str(workdir.resolve()))
    with open_workdir(workdir, shown(settings), progress) as log:
        result = files.read_json(workdir / "result.json")
        if result is None:
            dataset = dataset or data.load(settings.data, options)
            dataset = dataset_snapshot.in_first_order(dataset, settings.data, workdir)
            result = _run(settings, options, dataset, workdir, log, answers or Answers())
            log.finish(result)
        elif missing := [key for key in KEYS if key not in result]:
            raise JaxlabelError(
                f"{workdir}/result.json is broken, it lacks {missing[0]}: remove it and start "
                "again; no label is bought twice"
            )
        write_report(workdir)
    return result


def _run(
    settings: config.RunConfig, options: Options, dataset: Dataset, workdir: Path, log: RunLog,
    answers: Answers,
) -> dict[str, Any]:  # fmt: skip
    """Run the recipe on the images and return the content of result.json.

    Raises:
      LabelsMissing: a person must label images first; the questions are written.
    """
    for note in dataset.notes:
        log.say(note)
    if settings.kind == "auto":
        settings = dataclasses.replace(settings, kind=dataset.kind)
    if (oracle := answers.oracle) is None:
        oracle = _oracle(settings, options, dataset, workdir, log, answers)
    else:
        place = oracle.store.engine.url.render_as_string(hide_password=False)
        account.name(oracle.account, workdir, dataset, place)
    store, payer = oracle.store, oracle.account
    classes = store.classes(store.account(payer).label_set)
    log.classes(classes)
    log.arrays("samples", images=dataset.train_images[:40])
    try:
        predictor = METHODS[type(settings)](
            settings, dataset.train_images, oracle, jax.random.key(settings.seed), log
        )
    except LabelsMissing as error:
        raise _with_questions(error, workdir, dataset) from error
    except JaxlabelError:
        account.forget_unused(workdir, store, payer)
        raise
    log.forget("predictor")  # a killed session may have saved one with fewer classes
    log.save("predictor", 0, predictor.model)
    if predictor.clusters is not None:
        rows = clusters_csv(predictor.clusters, predictor.train_labels, classes, dataset.paths)
        files.write(workdir / "clusters.csv", rows)
    if predictor.train_labels is not None:
        log.arrays("train_labels", labels=predictor.train_labels)
    coloured = predictor.clusters if predictor.train_labels is None else predictor.train_labels
    if settings.map != "none" and predictor.features is not None and coloured is not None:
        log.arrays("map", **feature_map(predictor.features, coloured, settings.map))
    return {
        "method": type(settings).__module__.removeprefix("jaxlabel.methods."),
        "dataset": dataset.name,
        "seed": settings.seed,
        **_spent(store, payer),
        **_scores(settings.data, options, dataset, store, predictor, log),
        "seconds": round(log.seconds, 2),
        "seconds_shared": cache.take_saved_seconds(),
        **provenance.made_with(),
        "stopped_by": predictor.stopped_by,
        "gives": predictor.gives,
        **predictor.summary,
        "num_train": len(dataset.train_images),
        "image_shape": list(dataset.train_images.shape[1:]),
        **({"intensity": dataset.intensity} if dataset.intensity else {}),
        "classes": list(classes),
        "config": shown(settings),
    }


def shown(settings: config.RunConfig) -> dict[str, Any]:
    """Return the settings as a dictionary without the password of the label store's URL."""
    return dataclasses.asdict(settings) | {"store": files.without_password(settings.store)}


def _oracle(
    settings: config.RunConfig, options: Options, dataset: Dataset, workdir: Path, log: RunLog,
    answers: Answers,
) -> Oracle:  # fmt: skip
    """Open the label store and the run's account, and return the oracle that charges it."""
    url = account.store_url(settings.store, workdir)
    store = _store(settings, options, url, dataset, workdir, log)
    if answers.prepare is not None:
        answers.prepare(store, dataset)
    payer = account.name(settings.account, workdir, dataset, url)
    store.open_account(payer, dataset.name, settings.budget)
    return Oracle(
        store, payer, dataset.train_items.tolist(),
        num_classes=max(1, len(store.classes(dataset.name))),
        noise=settings.noise, seed=settings.seed, allow_peek=settings.may_peek(),
        answer_missing=answers.answer and functools.partial(answers.answer, store, dataset),
    )  # fmt: skip


def _store(
    settings: config.RunConfig, options: Options, url: str, dataset: Dataset, workdir: Path,
    log: RunLog,
) -> LabelStore:  # fmt: skip
    """Open the label store, and import the data set's own labels if the store lacks them.

    Raises:
      UsageError: the settings ask for peeking or noisy answers, but some labels are neither in the
        store nor in the data set.
    """
    store = LabelStore(url)
    missing = store.num_labelled(dataset.name, dataset.train_items) < len(dataset.train_items)
    importable = data.has_labels(settings.data, options)
    if missing and not importable and (settings.may_peek() or settings.noise):
        raise UsageError("stop=peek and noise are for data whose labels are all in the store")
    if missing and importable:
        full = workdir / account.CONTRADICTIONS
        for line in importing.in_subprocess(settings.data, url, options, str(full)):
            log.say(line)
    return store


def _spent(store: LabelStore, payer: str) -> dict[str, Any]:
    """Return the entries of result.json on the labels bought, read from the store's ledger."""
    entries = spending(store.ledger(payer))
    by_purpose: dict[str, int] = {}
    for entry in entries:
        by_purpose[entry.purpose] = by_purpose.get(entry.purpose, 0) + entry.labels
    return {
        "labels_spent": sum(by_purpose.values()),
        "labels_by_purpose": by_purpose,
        "cost": store.spent(payer),
        "ledger": [entry._asdict() for entry in entries],
        "peeked": store.account(payer).peeked,
    }


def _scores(
    spec: str, options: Options, dataset: Dataset, store: LabelStore, predictor: Predictor,
    log: RunLog,
) -> dict[str, Any]:  # fmt: skip
    """Return the accuracies of a finished run for result.json.

    Only this evaluation reads labels that the run did not buy.
    """
    scores: dict[str, Any] = {"train_label_accuracy": None, "test_accuracy": None,
                              "test_accuracy_interval": None}  # fmt: skip
    if predictor.train_labels is not None and data.has_labels(spec, options):
        scores["train_label_accuracy"] = store.agreement(
            dataset.name, dataset.train_items, predictor.train_labels
        )
    if len(dataset.test_images) and data.has_labels(spec, options):
        labels = _test_labels(spec, options, store.classes(dataset.name))
        if predictor.gives == "features":
            return scores | _feature_scores(spec, options, dataset, predictor, labels)
        predictions = predict_probabilities(predictor.model, dataset.test_images).argmax(axis=-1)
        if predictor.gives == "clusters":
            scores |= {"labels_read_by_the_evaluator": "test labels, to match clusters to classes"}
            return scores | evaluate.clustering_scores(labels, predictions)._asdict()
        classes = max(len(store.classes(dataset.name)), int(labels.max()) + 1)
        scored = evaluate.evaluate(labels, predictions, classes)
        log.arrays("confusion", matrix=scored.matrix)
        scores["test_accuracy"] = scored.accuracy
        scores["test_accuracy_interval"] = list(scored.interval)
    return scores


def _test_labels(spec: str, options: Options, classes: tuple[str, ...]) -> Int[np.ndarray, "m"]:
    """Return the labels of the test images as indices of the store's classes.

    A class that the store does not know has an index after all of them.
    """
    labels = data.load_test_labels(spec, options)
    names = data.label_names(spec, options)
    unknown = [name for name in names if name not in classes]
    return np.array([[*classes, *unknown].index(name) for name in names])[labels]


def _feature_scores(
    spec: str, options: Options, dataset: Dataset, predictor: Predictor,
    test_labels: Int[np.ndarray, "m"],
) -> dict[str, Any]:  # fmt: skip
    """Return the accuracy of nearest-neighbour votes on the model's features of the test images.

    The votes use all training labels, which the run did not see.
    """
    features, test_features = (
        train.apply_batched(train.outputs_of, predictor.model, images)
        for images in (dataset.train_images, dataset.test_images)
    )
    labels = data.load_train_labels(spec, options)
    plain, weighted = (
        evaluate.knn_accuracy(features, labels, test_features, test_labels, temperature=temperature)
        for temperature in (None, 0.1)
    )
    return {
        "knn_accuracy": plain,
        "knn_weighted_accuracy": weighted,
        "labels_read_by_the_evaluator": "all training labels, to measure the features",
    }


def _with_questions(error: LabelsMissing, workdir: Path, dataset: Dataset) -> LabelsMissing:
    """Write the unlabelled images to questions.csv and return an error that says what to do."""
    path_of = dict(zip(dataset.train_items.tolist(), dataset.paths, strict=False))
    if not path_of:
        path_of = account.write_pictures(workdir, dataset, error.items)
    paths = [path_of.get(item, "") for item in error.items]
    path = account.write_questions(workdir, error.items, paths)
    return LabelsMissing(
        f"{len(error.items)} image{'s are' if len(error.items) > 1 else ' is'} to be labelled by a "
        f"person: fill the column label of "
        f"{path}, then jaxlabel answer --workdir={workdir}, then the same command again",
        error.items,
    )


def feature_map(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    method: str = "tsne",
    max_points: int = 1000,
) -> dict[str, np.ndarray]:
    """Project the features of a random sample of images to two dimensions.

    Args:
      features: a row per image.
      labels: the class or cluster of each image.
      method: "tsne" (van der Maaten & Hinton 2008), or "pca", which is faster.
      max_points: the largest number of images on the map.

    Returns:
      The arrays "points" (m, 2) and "labels" (m,).
    """
    rows = np.random.default_rng(0).permutation(len(features))[:max_points]
    chosen = features[rows] - features[rows].mean(axis=0)
    if method == "pca":
        points = chosen @ np.linalg.svd(chosen, full_matrices=False)[2][:2].T
    else:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits

        perplexity = min(30.0, (len(rows) - 1) / 3)
        tsne = TSNE(perplexity=perplexity, init="random", max_iter=400, random_state=0)
        with threadpool_limits(1):  # a second thread only waits in its short loops
            points = tsne.fit_transform(chosen)
    return {"points": points, "labels": labels[rows]}


def summary(result: dict[str, Any], workdir: Path) -> str:
    """Return a few lines for the user: labels bought, accuracies, time, and the report's path."""
    lines = [
        f"{result['dataset']}, {result['method']}, seed {result['seed']}: "
        f"{result['labels_spent']} labels bought, stopped by {result['stopped_by']}"
    ]
    if result["peeked"]:
        lines.append("PEEKED: the run stopped by labels that it did not buy")
    if result["train_label_accuracy"] is not None:
        lines.append(f"training labels right: {100 * result['train_label_accuracy']:.2f}%")
    if result["test_accuracy"] is not None:
        low, high = (100 * end for end in result["test_accuracy_interval"])
        lines.append(
            f"test accuracy: {100 * result['test_accuracy']:.2f}% ({low:.2f} to {high:.2f})"
        )
    if result.get("verdict"):
        lines.append(result["verdict"])
    for name in ("knn_accuracy", "knn_weighted_accuracy", "matched_accuracy"):
        if result.get(name) is not None:
            read = result["labels_read_by_the_evaluator"]
            shown_name = name.replace("_", " ")
            lines.append(f"{shown_name}: {100 * result[name]:.2f}% (the evaluator read {read})")
    lines.append(f"{result['seconds']:.1f} s on {result['device']}")
    lines.append(f"report: {workdir / 'report.html'}")
    return "\n".join(lines)
