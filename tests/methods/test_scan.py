import csv
import dataclasses

import jax
import numpy as np
import pytest
from logs import Memory
from oracles import ArrayOracle
from PIL import Image

from jaxlabel import data, scan, train
from jaxlabel.config import validate
from jaxlabel.errors import UsageError
from jaxlabel.experiment import run as experiment
from jaxlabel.log import NullLog
from jaxlabel.methods import scan as recipe
from jaxlabel.methods.scan import Config
from jaxlabel.predictor import predict_probabilities

DIGITS = data.load("digits")
LABELS = data.load_train_labels("digits")
QUICK = Config(
    kind="digits", encoder="dense", width=8, pretext_steps=30, pretext_batch=64, projection=16,
    components=32, heads=2, start_steps=60, cluster_steps=60, cluster_batch=64, cluster_rate=3e-3,
    self_steps=60, self_batch=64, name_steps=200, graph_components=10, graph_neighbours=7,
    neighbours=7, threshold=0.8, budget=0, map="none",
)  # fmt: skip


class Spoken(NullLog):
    def __init__(self):
        self.said, self.drawn = [], {}

    def say(self, text):
        self.said.append(text)

    def arrays(self, name, **arrays):
        self.drawn[name] = arrays


def run(config, budget=0):
    log, oracle = Spoken(), ArrayOracle(LABELS, budget)
    found = recipe.run(config, DIGITS.train_images, oracle, jax.random.key(config.seed), log)
    return found, oracle, log


def test_without_a_budget_it_returns_clusters_and_can_be_reloaded():
    found, oracle, log = run(QUICK)
    assert found.gives == "clusters" and found.train_labels is None and not oracle.asked
    assert found.summary["neighbour_agreement"] > 0.7 and found.summary["size_entropy"] > 0.9
    assert set(np.bincount(found.clusters, minlength=10) > 0) == {True}
    assert len(log.drawn["clusters"]["sizes"]) == 10
    pure = sum(np.bincount(LABELS[found.clusters == c]).max() for c in range(10)) / len(LABELS)
    assert pure > 0.7
    make = recipe.make_classifier(QUICK, (8, 8, 1), 10)
    empty = jax.eval_shape(lambda: train.init(make, jax.random.key(1)))
    assert jax.tree.structure(empty) == jax.tree.structure(found.model)
    guesses = predict_probabilities(found.model, DIGITS.train_images).argmax(axis=1)
    np.testing.assert_array_equal(guesses, found.clusters)


def test_a_classifier_trained_with_a_budget_can_be_reloaded():
    config = dataclasses.replace(
        QUICK, budget=12, name_steps=10, clusters=2, prior="0.5,0.5",
    )  # fmt: skip
    found, oracle, log = run(config, 12)
    assert found.gives == "classes" and len(oracle.asked) == 12
    asked = sorted(oracle.asked)
    np.testing.assert_array_equal(found.train_labels[asked], LABELS[asked])
    assert log.drawn["medoids"]["sizes"].sum() == len(LABELS)
    make = recipe.make_classifier(config, (8, 8, 1), 10)
    empty = jax.eval_shape(lambda: train.init(make, jax.random.key(1)))
    assert jax.tree.structure(empty) == jax.tree.structure(found.model)


def test_self_labelling_that_makes_clusters_worse_is_rejected(monkeypatch):
    def collapsed(model, *_, **__):
        bias = model.head.bias[...].at[0].set(100.0)
        return scan.Assigner(model.encoder, _with_bias(model.head, bias))

    monkeypatch.setattr(scan, "train_on_own_assignments", collapsed)
    config = dataclasses.replace(QUICK, threshold=0.3)
    found, _, log = run(config)
    assert found.summary["self_labelling"].startswith("refused: 9 clusters have vanished")
    assert any("rejected" in line for line in log.said)
    assert found.summary["vanished_clusters"] == 0
    assert np.all(np.bincount(found.clusters, minlength=10) > 0)  # those that it had before


def _with_bias(head, bias):
    copy = jax.tree.map(lambda leaf: leaf, head)
    copy.bias[...] = bias
    return copy


def test_the_best_head_has_the_lowest_loss():
    class Given:
        num_features = 4

        def features(self, images):
            return images.reshape(len(images), -1)[:, :4]

    images = np.zeros((40, 2, 2, 1), np.uint8)
    images[np.arange(40), np.arange(40) % 4 // 2, np.arange(40) % 2] = 255
    neighbours = (np.arange(40)[:, None] + 4) % 40
    model = train.init(lambda rngs: scan.Heads(Given(), 3, 4, rngs), jax.random.key(0))
    model.heads[1].kernel[...] = 5 * np.eye(4, dtype=np.float32)
    best, losses = scan.best_head(model, images, neighbours, entropy_weight=5.0, prior=None)
    assert best == 1 and losses[1] == pytest.approx(0, abs=0.01) and losses.shape == (3,)


def test_contradictory_settings_raise_an_error():
    for change, words in (
        ({"prior": "0.5,x"}, "numbers separated by commas"),
        ({"prior": "0.5,0.4"}, "sum to 1"),
        ({"prior": "0.5,nan"}, "sum to 1"),
        ({"prior": "nan,nan"}, "sum to 1"),
        ({"prior": "1.5,-0.5"}, "above 0"),
        ({"prior": "0.5,0.5", "clusters": 3}, "2 shares"),
        ({"graph_components": 1}, "graph_components is 1: it takes a number at least 2"),
    ):
        with pytest.raises(UsageError, match=words):
            validate(dataclasses.replace(QUICK, **change))
    with pytest.raises(UsageError, match="give a number of clusters"):
        recipe.count_clusters(QUICK, 1)
    assert recipe.count_clusters(dataclasses.replace(QUICK, clusters=20), 10, 20) == 20


def test_a_class_named_late_does_not_change_the_number_of_clusters():
    log = Memory()
    priced = dataclasses.replace(QUICK, budget=5)
    assert [recipe.count_clusters_once(priced, known, 50, log) for known in (3, 5)] == [3, 3]
    assert [recipe.count_clusters_once(QUICK, known, 50, log) for known in (3, 5)] == [3, 5]
    with pytest.raises(UsageError, match="give a number of clusters"):
        recipe.count_clusters_once(priced, 1, 50, other := Memory())
    assert recipe.count_clusters_once(priced, 4, 50, other) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clusters": 1}, "set 2 or more"),
        ({"clusters": 1298}, "1298 clusters of 1297 images"),
        ({"budget": 0.5}, "a budget of 0.5 buys no label: the cheapest costs 1"),
    ],
)
def test_impossible_settings_raise_an_error_before_the_encoder_is_trained(
    monkeypatch, change, words
):
    monkeypatch.setattr(recipe.simclr, "pretrain", None)
    with pytest.raises(UsageError, match=words):
        run(dataclasses.replace(QUICK, **change), change.get("budget", 0))


def test_clusters_are_matched_to_the_prior_by_size():
    clusters = np.repeat([0, 1, 2, 3], [5, 30, 10, 20])
    found = scan.match_to_prior(clusters, np.array([0.2, 0.1, 0.6, 0.1]))
    np.testing.assert_array_equal(np.bincount(found), [20, 10, 30, 5])
    np.testing.assert_array_equal(scan.match_to_prior(clusters, None), clusters)
    vanished = scan.match_to_prior(np.array([1, 1, 0]), np.array([0.2, 0.3, 0.5]))
    np.testing.assert_array_equal(vanished, [2, 2, 1])


def test_heads_start_from_clusters_in_the_order_of_the_prior(monkeypatch):
    taught = []

    def teach(model, images, targets, *_, **__):
        taught.append(targets)
        return model

    monkeypatch.setattr(scan, "pretrain_heads", teach)
    monkeypatch.setattr(scan, "fit_heads", lambda model, *_, **__: model)
    config = dataclasses.replace(QUICK, self_steps=0, pretext_steps=0, prior="0.1,0.3,0.4,0.2")
    run(dataclasses.replace(config, clusters=4))
    for start in taught[0].T:
        assert np.argsort(np.bincount(start)).tolist() == [0, 3, 1, 2]


def test_a_folder_without_labels_becomes_clusters_in_a_csv_and_a_montage(tmp_path, capsys):
    random = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(60):
        image = random.integers(0, 60, (12, 12), np.uint8)
        image[:6] += 180 * (number % 2)
        Image.fromarray(image).save(folder / f"{'top' if number % 2 else 'end'}{number}.png")
    config = dataclasses.replace(
        QUICK, data=f"folder:{folder}", kind="auto", image_size=8, image_mode="grey", clusters=2,
        graph_components=3, pretext_steps=5, threshold=0.6,
    )  # fmt: skip
    result = experiment.run(config, tmp_path / "run")
    assert result["gives"] == "clusters" and result["labels_spent"] == 0
    rows = list(csv.DictReader((tmp_path / "run" / "clusters.csv").read_text().splitlines()))
    assert len(rows) == 60 and {row["label"] for row in rows} == {""}
    groups = {row["file"].split("/")[-1][:3]: row["cluster"] for row in rows}
    right = sum(groups[row["file"].split("/")[-1][:3]] == row["cluster"] for row in rows)
    assert groups["top"] != groups["end"] and right > 54
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The clusters" in page and "of their neighbours in it" in page
    groups = page.partition("The clusters</h2>")[2].partition("</section>")[0].split("<h3>")[1:]
    assert [group.startswith(f"cluster {i} ") for i, group in enumerate(groups)] == [True, True]
    assert [group.count("<img") for group in groups] == [24, 24]
