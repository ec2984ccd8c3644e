"""Tests of the committee of networks, and of the rounds that buy labels and train it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ArrayOracle

from jaxlabel import data, train
from jaxlabel.log import NullLog
from jaxlabel.methods import active, rounds
from jaxlabel.predictor import PoolPredictions, Predictions, predict_all, predict_probabilities
from jaxlabel.query import NO_LABELS, Labelled
from jaxlabel.semisupervised import committee, pad, setup, training

TINY = {"data": "digits", "kind": "digits", "network": "dense", "width": 8, "batch_size": 16,
        "mu": 2, "map": "none", "space": "graph", "round_steps": 30, "steps": 60,
        "distil_steps": 60, "initial_labels": 20}  # fmt: skip


def tiny(**changes):
    return active.Config(**TINY | changes)


def test_labels_grow_by_a_factor():
    config = active.Config(initial_labels=40, growth=1.6)
    totals = [0]
    for _ in range(7):
        totals.append(rounds.num_labels_after_round(config, totals[-1]))
    assert totals[1:] == [40, 64, 102, 163, 261, 418, 669]
    assert rounds.num_labels_after_round(active.Config(growth=1.05), 3) == 4


def a_committee(members, config):
    images = data.load("digits").train_images[:300]
    key = jax.random.key(1)
    state = committee.initial_state(config, members, images, 10, key, NullLog())
    labels = data.load_train_labels("digits")[:40]
    known = pad(
        images, np.arange(40), labels, 64, np.zeros((300, 10), np.float32), np.full(10, 0.1)
    )
    return images, state, jax.tree.map(jnp.asarray, known)


def test_stacked_members_step_like_a_single_member():
    config = tiny()
    _, state, known = a_committee(2, config)
    step = training.make_step(config, training.views_of("digits"))
    key = jax.random.key(5)
    stepped = [
        jax.jit(committee.make_committee_step(step, unrolled=unrolled))(state, known, key)[0]
        for unrolled in (True, False)
    ]
    alone = jax.jit(step)(train.member(state, 1), known, jax.random.split(key, 2)[1])[0]
    for one, other, single in zip(
        *map(jax.tree.leaves, stepped), jax.tree.leaves(alone), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
        np.testing.assert_allclose(one[1], single, atol=1e-5)


def test_distillation_imitates_the_committee_and_needs_several_members():
    config = tiny(distil_steps=150)
    images, state, known = a_committee(2, config)
    cycle = committee.make_cycle(config, 60)
    state = committee.train_cycle(cycle, state, known, jax.random.key(2), NullLog(), "round")
    together = committee.teacher_ensemble(config, state)
    said = predict_probabilities(together, images).argmax(-1)

    def taught(config, state, labelled, name):
        return committee.distil(config, state, images, labelled, jax.random.key(3), NullLog(), name)

    student = taught(config, state, Labelled(np.arange(20), said[:20]), "student")
    assert len(student.members) == 1
    assert (predict_probabilities(student, images).argmax(-1) == said).mean() > 0.9
    most = np.bincount(said, minlength=10).argmax()
    rows = np.flatnonzero(said == most)
    other = (most + 1) % 10
    told = taught(config, state, Labelled(rows, np.full(len(rows), other)), "told")
    assert (predict_probabilities(student, images[rows]).argmax(-1) == most).mean() > 0.8
    # the labelled set is learned as well
    assert (predict_probabilities(told, images[rows]).argmax(-1) == other).mean() > 0.8
    single = jax.tree.map(lambda leaf: leaf[:1], state)
    same = taught(config, single, NO_LABELS, "none")
    np.testing.assert_array_equal(
        same.members[0].head.kernel[...], state.teacher.head.kernel[...][0]
    )
    kept = taught(tiny(distil_steps=0), state, NO_LABELS, "none")
    np.testing.assert_array_equal(
        predict_probabilities(kept, images[:50]), predict_probabilities(together, images[:50])
    )


def test_predict_all_matches_features_and_probabilities():
    config = tiny()
    images, state, _ = a_committee(2, config)
    models = committee.teacher_ensemble(config, state)
    predictions = predict_all(models, images, 10)
    np.testing.assert_allclose(
        predictions.probabilities, predict_probabilities(models, images), atol=1e-5
    )
    expected = train.apply_batched(train.features_of, models, images)
    np.testing.assert_allclose(predictions.features, expected, atol=1e-5)


def test_a_round_chooses_from_a_sample_of_the_pool(monkeypatch):
    config = tiny(pool=90, query="margin")
    images, state, _ = a_committee(2, config)
    everything = predict_all(committee.teacher_ensemble(config, state), images, 10)
    labelled = Labelled(np.array([250, 3, 77, 299]), np.zeros(4, int))
    oracle = ArrayOracle(np.zeros(300), 1000)
    context = rounds.Context(config, images, None, None, oracle, 64, NullLog())
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


@pytest.mark.parametrize("strategy", ["medoids", "typiclust", "coreset", "margin"])
def test_unaffordable_images_do_not_hide_their_neighbours_from_queries(strategy, monkeypatch):
    blob = np.repeat(np.arange(4), 200)
    points = (10 * np.eye(4)[blob] + np.random.default_rng(0).normal(size=(800, 4))).astype("f")
    cheap = np.arange(800) % 200 >= np.where(blob, 10, 120)
    oracle = ArrayOracle(blob, 8, 4, np.where(cheap, 1.0, 50.0))
    monkeypatch.setattr(rounds.query, "buy", lambda oracle, labelled, wanted, number: wanted)
    spaces = setup.Spaces(None, points, None)
    context = rounds.Context(
        tiny(initial_query=strategy, query=strategy),
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
