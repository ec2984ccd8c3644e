"""Tests of the rounds that buy labels and train the network, and of its training cycles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from logs import TrainingMemory
from oracles import ArrayOracle

from jaxlabel import data, train
from jaxlabel.cluster import first_copies
from jaxlabel.log import NullLog
from jaxlabel.methods import active, rounds
from jaxlabel.predictor import PoolPredictions, Predictions, predict_all, predict_probabilities
from jaxlabel.query import NO_LABELS, Labelled
from jaxlabel.semisupervised import cycles, pad, setup, training

TINY = {"data": "digits", "kind": "digits", "network": "dense", "width": 8, "batch_size": 16,
        "mu": 2, "steps": 60,
        "initial_labels": 20}  # fmt: skip


def tiny(**changes):
    return active.Config(**TINY | changes)


def test_labels_grow_by_a_factor():
    context = rounds.Context(*[None] * 8)._replace(config=active.Config(initial_labels=40))
    totals = [0]
    for _ in range(7):
        totals.append(rounds.num_labels_after_round(context, totals[-1]))
    assert totals[1:] == [40, 64, 102, 163, 261, 418, 669]
    assert rounds.num_labels_after_round(context, 1) == 2


def test_a_round_and_the_teacher_follow_from_the_number_of_steps():
    steps = [20, 300, 3000, 20_000]
    assert [active.Config(steps=n).round_steps for n in steps] == [6, 100, 1000, 6666]
    assert [active.Config(steps=n).refine_steps for n in steps] == [20, 300, 400, 1333]
    assert [active.Config(steps=n).ema for n in steps] == [0.995, 0.995, 0.995, 0.999]


def untrained(config):
    images = data.load("digits").train_images[:300]
    state = setup.initial_state(config, images, 10, jax.random.key(1))
    labels = data.load_train_labels("digits")[:40]
    known = pad(
        images, np.arange(40), labels, 64, np.zeros((300, 10), np.float32), np.full(10, 0.1)
    )
    return images, state, jax.tree.map(jnp.asarray, known)


def test_a_cycle_starts_from_the_teacher_with_a_new_learning_rate():
    config = tiny(objective="freematch")
    _, state, known = untrained(config)
    cycle = cycles.make_cycle(config, 3)
    assert cycle.settings.steps == 3
    trained = cycles.train_cycle(cycle, state, known, jax.random.key(2), NullLog(), "a")
    assert trained.number == 3
    again = cycles.train_cycle(cycle, trained, known, jax.random.key(2), NullLog(), "b")
    assert again.number == 3
    # the teacher alone decides: the student that differs from it is forgotten
    same = trained._replace(student=state.student, optimizer=state.optimizer)
    same = cycles.train_cycle(cycle, same, known, jax.random.key(2), NullLog(), "c")
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_step_of_a_cycle_gets_the_key_of_the_first_of_several_networks():
    config = tiny(objective="freematch")
    _, state, known = untrained(config)
    key = jax.random.key(5)
    stepped = jax.jit(cycles.make_cycle(config, config.steps).step)(state, known, key)[0]
    step = training.make_step(config, training.views_of("digits"))
    alone = jax.jit(step)(state, known, jax.random.split(key, 3)[0])[0]
    for one, other in zip(jax.tree.leaves(stepped), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(one, other)


def test_predict_all_matches_features_and_probabilities():
    config = tiny()
    images, state, _ = untrained(config)
    model = setup.average_mirrored(config, state.teacher)
    predictions = predict_all(model, images, 10)
    np.testing.assert_allclose(
        predictions.probabilities, predict_probabilities(model, images), atol=1e-5
    )
    expected = train.apply_batched(train.features_of, model, images)
    np.testing.assert_allclose(predictions.features, expected, atol=1e-5)


def test_a_round_chooses_from_a_sample_of_the_pool(monkeypatch):
    monkeypatch.setattr(rounds, "POOL", 90)
    config = tiny(query="margin")
    images, state, _ = untrained(config)
    everything = predict_all(setup.average_mirrored(config, state.teacher), images, 10)
    labelled = Labelled(np.array([250, 3, 77, 299]), np.zeros(4, int))
    oracle = ArrayOracle(np.zeros(300), 1000)
    context = rounds.Context(config, "medoids", images, None, None, oracle, 64, NullLog())
    monkeypatch.setattr(rounds.query, "buy", lambda oracle, labelled, wanted, number: wanted)
    for number in range(3):
        seen = rounds.pool_predictions(context, state, labelled, jax.random.key(number))
        assert 90 <= len(seen.rows) <= 94 and set(labelled.indices) <= set(seen.rows)
        probabilities = everything.probabilities[seen.rows]
        np.testing.assert_allclose(
            seen.predictions.probabilities, probabilities, rtol=1e-4, atol=1e-6
        )
        shares = np.sort(probabilities, axis=1)
        margins = dict(zip(seen.rows, shares[:, -1] - shares[:, -2], strict=True))
        asked = rounds.buy(context, seen, labelled, 5, 1, jax.random.key(9))
        free = [margin for row, margin in margins.items() if row not in labelled.indices]
        np.testing.assert_allclose([margins[row] for row in asked], np.sort(free)[:5], atol=1e-5)
    many = Labelled(np.arange(100), np.zeros(100, int))
    assert len(rounds.pool_predictions(context, state, many, jax.random.key(0)).rows) == 300


def test_the_map_of_images_with_a_single_feature_is_a_line():
    predictions = Predictions(np.array([[1.0], [3.0]]), np.full((2, 2), 0.5))
    points = PoolPredictions(np.arange(2), predictions).map_points()
    np.testing.assert_array_equal(np.abs(points), [[1, 0], [1, 0]])


def test_copies_in_a_sample_without_their_first_image_can_be_chosen_once(monkeypatch):
    class Copied(ArrayOracle):
        def first_copies(self, indices):  # images 0 to 3 are one image, 4 to 7 another, and so on
            return np.array([np.flatnonzero(indices // 4 == each // 4)[0] for each in indices])

    oracle = Copied(np.zeros(40), 100)
    monkeypatch.setattr(rounds.query, "buy", lambda oracle, labelled, wanted, number: wanted)
    context = rounds.Context(
        tiny(query="margin"), "medoids", np.zeros(40), None, None, oracle, 64, NullLog()
    )
    rows, labelled = np.arange(40)[np.arange(40) % 4 > 0], Labelled(np.array([6]), np.array([0]))
    pool = PoolPredictions(rows, Predictions(np.zeros((30, 2)), np.full((30, 2), 0.5)))
    asked = rounds.buy(context, pool, labelled, 20, 1, jax.random.key(0))
    assert sorted(asked // 4) == [0, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("strategy", ["medoids", "typiclust", "coreset", "margin"])
def test_unaffordable_images_do_not_hide_their_neighbours_from_queries(strategy, monkeypatch):
    blob = np.repeat(np.arange(4), 200)
    points = (10 * np.eye(4)[blob] + np.random.default_rng(0).normal(size=(800, 4))).astype("f")
    cheap = np.arange(800) % 200 >= np.where(blob, 10, 120)
    oracle = ArrayOracle(blob, 8, 4, np.where(cheap, 1.0, 50.0))
    monkeypatch.setattr(rounds.query, "buy", lambda oracle, labelled, wanted, number: wanted)
    spaces = setup.Spaces(None, points, None)
    context = rounds.Context(
        tiny(query=strategy),
        strategy,
        np.zeros(800),
        spaces,
        None,
        oracle,
        64,
        NullLog(),
    )
    probabilities = np.full((800, 4), 0.25)  # equally uncertain for all images
    seen = PoolPredictions(np.arange(0, 800, 2), Predictions(points[::2], probabilities[::2]))
    asked = rounds.buy(context, seen, NO_LABELS, 4, 0, jax.random.key(0))
    assert len(set(asked.tolist())) == 4 and cheap[asked].all()
    assert strategy == "margin" or len(set(blob[asked])) == 4


def test_a_graph_whose_neighbours_are_copies_is_not_restored():
    images = np.array([[0], [0], [1], [2]])
    log, first, two = TrainingMemory(), first_copies(images), np.zeros(2, int)
    good = rounds.Learned(np.array([[2], [2], [3], [2]]), np.ones((4, 1)), two, np.zeros(4, int))
    old = good._replace(neighbours=np.array([[1], [0], [3], [2]]))  # of an earlier version
    log.save("good", 3, good)
    log.save("old", 3, old)
    restored = rounds.restore_learned(log, "good", good, 3, first)
    np.testing.assert_array_equal(restored.neighbours, good.neighbours)
    assert rounds.restore_learned(log, "old", good, 3, first) is None
    assert rounds.restore_learned(log, "old", good, 3, None) is not None  # all are distinct
    assert rounds.restore_learned(log, "good", good, 4, first) is None  # a new class
    assert rounds.restore_learned(log, "none", good, 3, first) is None
