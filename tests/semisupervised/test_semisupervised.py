"""Tests of the semi-supervised step: every objective learns, padding is inert, one trace."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlabel import nets, semisupervised, train
from jaxlabel.log import NullLog
from jaxlabel.methods import semisup
from jaxlabel.query import Labelled
from jaxlabel.semisupervised import objectives, setup, weights
from jaxlabel.semisupervised import settings as settings_module
from jaxlabel.semisupervised.setup import ModelSettings, make_graph_targets
from jaxlabel.semisupervised.training import draw_batch

RANDOM = np.random.default_rng(0)
CLASSES = RANDOM.integers(0, 3, 240)
# three classes by the bright third of the image
IMAGES = RANDOM.integers(0, 60, (240, 6, 6, 1)).astype(np.uint8)
for _row, _class in enumerate(CLASSES):
    IMAGES[_row, 2 * _class : 2 * _class + 2] += 150
LABELLED = np.concatenate([np.flatnonzero(c == CLASSES)[:2] for c in range(3)])


def lighter(key, images):
    return images + 0.1 * jax.random.uniform(key)


VIEWS = objectives.Views(lighter, lighter)  # the real transforms take seconds to compile


def settings(**changes):
    sizes = {"steps": 60, "batch_size": 6, "mu": 2}
    return semisup.Config(**sizes | {"learning_rate": 5e-3} | changes)


def data(count=6, capacity=9, graph_targets=None):
    graph_targets = np.full(len(IMAGES), 0) if graph_targets is None else graph_targets
    return semisupervised.pad(
        IMAGES,
        LABELLED[:count],
        CLASSES[LABELLED[:count]],
        capacity,
        np.eye(3)[graph_targets],
        np.full(3, 1 / 3),
    )


@functools.cache
def model():
    def make(rngs):
        return nets.Classifier(nets.make_encoder("dense", IMAGES.shape[1:], rngs, 8), 3, rngs)

    return train.init(make, jax.random.key(0))


def trained(chosen, given, step=None, num_steps=60):
    state = semisupervised.start(chosen, model(), len(IMAGES), 3)
    step = step or semisupervised.make_step(chosen, VIEWS)
    return train.loop(
        step, state, given, jax.random.key(1), NullLog(), name="t", num_steps=num_steps
    )


@pytest.mark.parametrize("objective", semisupervised.NAMES)
def test_every_objective_learns_three_classes_from_six_labels(objective, monkeypatch):
    monkeypatch.setattr(objectives, "RAMP", 0.5)  # of the few steps
    state = trained(settings(objective=objective), data(graph_targets=CLASSES))
    found = train.apply_batched(lambda m, x: m(x), state.teacher, IMAGES).argmax(axis=1)
    assert np.mean(found == CLASSES) > 0.9
    assert int(state.number) == 60


def test_more_labels_do_not_retrace_and_padding_does_not_matter():
    traces = []
    plain = semisupervised.make_step(settings(), VIEWS)

    def counted(state, given, key):
        traces.append(1)
        return plain(state, given, key)

    trained(settings(), data(count=3), counted, num_steps=2)
    before = len(traces)
    state = trained(settings(), data(count=6), counted, num_steps=2)
    assert len(traces) == before

    given = data(count=6)
    junk = given._replace(
        labelled=given.labelled.at[6:].set(len(IMAGES) - 1),
        labels=given.labels.at[6:].set(2),
    )
    other = trained(settings(), junk, counted, num_steps=2)
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_batch_draws_from_the_labelled_set_and_from_all_images():
    chosen = settings(batch_size=500)
    given = jax.tree.map(jnp.asarray, data(count=4, graph_targets=CLASSES))
    batch = draw_batch(chosen, given, jnp.int32(15), jax.random.key(0))
    pixels = np.round(255 * batch.images)
    drawn = (pixels[:, None] == IMAGES[LABELLED[:4]]).all((2, 3, 4))
    assert drawn.any(axis=0).all() and np.all(drawn.sum(axis=1) == 1)
    np.testing.assert_array_equal(batch.labels, CLASSES[LABELLED[drawn.argmax(axis=1)]])
    assert batch.unlabelled.shape == (1000, 6, 6, 1)
    np.testing.assert_array_equal(batch.graph_targets.argmax(axis=1), CLASSES[batch.rows])
    np.testing.assert_allclose(batch.unlabelled * 255, IMAGES[batch.rows], atol=1e-4)
    assert float(batch.progress) == 0.25


def test_the_weight_of_graph_targets_falls_linearly():
    chosen = settings(objective="fixmatch", graph_targets=0.5, alignment="none")
    weighed = []

    def weigh(settings, targets, batch, memory):
        weighed.append(targets)
        return jnp.ones(len(targets)), memory

    views = objectives.Views(lambda key, x: x, lambda key, x: x)
    given = jax.tree.map(jnp.asarray, data(graph_targets=CLASSES))
    state = semisupervised.start(chosen, model(), len(IMAGES), 3)
    for number in (0, 15, 30):
        batch = draw_batch(chosen, given, jnp.int32(number), jax.random.key(0))
        objectives.make_fixmatch_objective(weigh)(
            chosen, views, state.student, state.teacher, batch, state.memory, jax.random.key(1)
        )
    own = jax.nn.softmax(state.teacher(batch.unlabelled))
    for targets, trust in zip(weighed, (1.0, 0.5, 0.0), strict=True):
        np.testing.assert_allclose(
            targets, trust * batch.graph_targets + (1 - trust) * own, atol=1e-5
        )


def outcome(weigh, given, number=0, **changes):
    """Return the outcome of an objective, its batch and the teacher's predictions."""
    chosen = settings(**{"alignment": "uniform"} | changes)
    views = objectives.Views(lambda key, x: x, lambda key, x: x)
    given = jax.tree.map(jnp.asarray, given)
    state = semisupervised.start(chosen, model(), len(IMAGES), 3)
    batch = draw_batch(chosen, given, jnp.int32(number), jax.random.key(0))
    found = weigh(
        chosen, views, state.student, state.teacher, batch, state.memory, jax.random.key(1)
    )
    return found, batch, jax.nn.softmax(state.teacher(batch.unlabelled))


def test_an_image_without_a_target_has_weight_zero():
    given = data(graph_targets=CLASSES)
    known = np.arange(len(IMAGES)) % 2
    given = given._replace(graph_targets=given.graph_targets * known[:, None])
    weigh = objectives.make_fixmatch_objective(
        lambda settings, targets, *_: (jnp.ones(len(targets)), _[1])
    )
    found, batch, _ = outcome(weigh, given, number=0, graph_targets=0.5)
    has_target = known[batch.rows] == 1
    assert 0 < has_target.mean() < 1
    assert float(found.metrics["confident"]) == pytest.approx(has_target.mean())
    np.testing.assert_array_equal(found.unlabelled[~has_target], 0.0)
    later, *_ = outcome(
        weigh, given, number=15, graph_targets=0.5
    )  # by then the teacher's share is above zero
    assert float(later.metrics["confident"]) == 1.0


def test_graph_targets_of_zeros_are_ignored(monkeypatch):
    monkeypatch.setattr(weights, "THRESHOLD", 0.0)
    given = data(graph_targets=CLASSES)
    given = given._replace(graph_targets=0 * given.graph_targets)
    objective = objectives.OBJECTIVES["fixmatch"]
    losses = [
        outcome(objective, given, graph_targets=graph_targets)[0].unlabelled
        for graph_targets in (0.0, 1.0)
    ]
    assert losses[0].any()
    np.testing.assert_array_equal(*losses)


def test_the_refinement_keeps_the_propagated_labels_to_the_end():
    given = data(graph_targets=CLASSES)
    known = np.arange(len(IMAGES)) % 2
    soft = 0.5 * given.graph_targets + 0.5 / 3  # averaged over neighbours, as SCAN does
    given = given._replace(graph_targets=soft * known[:, None])
    objective = objectives.OBJECTIVES[objectives.REFINEMENT]
    found, batch, _ = outcome(objective, given, number=59, graph_targets=0.0)
    assert float(found.metrics["confident"]) == pytest.approx(known[batch.rows].mean())
    student = jax.nn.log_softmax(model()(batch.unlabelled))
    expected = -student[np.arange(len(student)), CLASSES[batch.rows]] * known[batch.rows]
    np.testing.assert_allclose(found.unlabelled, expected, rtol=1e-4, atol=1e-6)


def test_with_many_labels_the_graph_gives_no_targets(monkeypatch):
    monkeypatch.setattr(settings_module, "FEW", 5)
    config = ModelSettings()
    base = IMAGES.reshape(len(IMAGES), -1).astype(np.float32)
    graph = semisupervised.neighbour_graph(base, 4, NullLog())

    def graph_targets(count):
        labelled = Labelled(LABELLED[:count], CLASSES[LABELLED[:count]])
        found = setup.propagate_labels(config, graph, labelled, 3)
        return make_graph_targets(found, len(IMAGES), 3)

    assert graph_targets(5).sum() >= 0.5 * len(IMAGES) and not graph_targets(6).any()
    # with fewer labels than planned there may be no graph
    few = Labelled(LABELLED[:2], CLASSES[LABELLED[:2]])
    assert setup.propagate_labels(config, None, few, 3) is None


@pytest.mark.parametrize("objective", ["freematch", "softmatch"])
def test_softmatch_keeps_statistics_of_aligned_predictions(objective):
    found, _, own = outcome(objectives.OBJECTIVES[objective], data())
    seen = found.memory.seen
    mean = 0.99 / 3 + 0.01 * own.mean(axis=0)
    np.testing.assert_allclose(seen.mean, mean, rtol=1e-5)
    watched = own
    if objective == "softmatch":
        watched = own / 3 / mean
        watched /= watched.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(seen.level, 0.99 / 3 + 0.01 * watched.max(axis=1).mean(), rtol=1e-6)


def test_vat_uses_a_larger_step_with_lower_precision():
    assert objectives.vat_step_size(jnp.dtype(jnp.float32)) == 0.1
    probe = objectives.vat_step_size(jnp.dtype(jnp.bfloat16))
    assert probe == 1.0
    step = float(jnp.finfo(jnp.bfloat16).eps)
    assert 0.1 / 28 < step < probe / 28 / 4


class Names(NullLog):
    """A log that records the names of checkpoints."""

    def __init__(self):
        self.saved, self.asked = set(), set()

    def save(self, name, step, tree):
        self.saved.add(name)

    def restore(self, name, like):
        self.asked.add(name)


def test_contrastive_features_join_the_components_with_a_separate_checkpoint(monkeypatch):
    monkeypatch.setattr(setup, "COMPONENTS", 5)
    log = Names()
    config = semisup.Config(contrast_steps=1, network="dense", width=4)
    found = setup.base_features(config, IMAGES, jax.random.key(0), log)
    assert found.shape == (len(IMAGES), 8 * 32 + 5)
    np.testing.assert_allclose(np.sum(found[:, -5:] ** 2, axis=1), 0.6, rtol=1e-4)
    np.testing.assert_allclose(np.sum(found**2, axis=1), 1, rtol=1e-4)
    assert log.saved == log.asked == {"contrastive_space"}


@pytest.mark.parametrize(
    ("strategies", "labels", "changes", "asked", "joined"),
    [
        (("random", "random"), 40, {}, False, False),
        (("random", "margin"), 40, {}, False, False),  # margin uses the model's own features
        (("medoids", "margin"), 40, {}, True, False),
        (("random", "random"), 150, {"graph_targets": 0.5}, False, True),
        (("medoids", "random"), 151, {"graph_targets": 0.5}, True, False),
        (("random", "random"), 40, {"graph_targets": 0.5, "objective": "vat"}, False, False),
        (("medoids", "random"), 151, {"objective": "graph"}, True, True),
    ],
)
def test_features_are_computed_only_if_they_are_needed(
    strategies, labels, changes, asked, joined, monkeypatch
):
    monkeypatch.setattr(setup, "COMPONENTS", 5)
    config = semisup.Config(**changes)
    found = semisup.compute_spaces(config, strategies, labels, IMAGES, jax.random.key(0), NullLog())
    assert (found.base is not None) == (asked or joined)
    assert (found.query.any(), found.graph is not None) == (asked, joined)
    assert len(found.query) == len(IMAGES)
