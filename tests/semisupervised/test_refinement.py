import json

import jax
import numpy as np
import pytest
from logs import TrainingMemory

from jaxlabel import data, pretext
from jaxlabel.cluster import first_copies, nearest_neighbours
from jaxlabel.experiment import run as experiment
from jaxlabel.log import NullLog
from jaxlabel.methods import active
from jaxlabel.predictor import predict_probabilities
from jaxlabel.query import Labelled
from jaxlabel.semisupervised import cycles, pad, refinement, setup

IMAGES = data.load("digits").train_images[:600]
LABELS = data.load_train_labels("digits")[:600]
LABELLED = Labelled(np.arange(40), LABELS[:40])


def tiny(**changes):
    settings = {
        "data": "digits",
        "kind": "digits",
        "network": "dense",
        "width": 8,
        "mu": 2,
        "batch_size": 16,
        "steps": 40,
        "initial_labels": 20,
        "learning_rate": 5e-3,
    }
    return active.Config(**settings | changes)


@pytest.fixture(scope="module")
def trained():
    """Return a network after a short training on the labelled set, and its training data."""
    config = tiny(objective="freematch")
    state = setup.initial_state(config, IMAGES, 10, jax.random.key(1))
    graph_targets = np.zeros((len(IMAGES), 10), np.float32)
    seen = pad(IMAGES, *LABELLED, 64, graph_targets, np.full(10, 0.1))
    cycle = cycles.make_cycle(config, config.steps)
    return cycles.train_cycle(cycle, state, seen, jax.random.key(2), NullLog(), "end"), seen


def refine(config, state, seen, steps, labelled=LABELLED, **options):
    cycle = refinement.make_cycle(config, steps)
    return refinement.refine(
        cycle, state, seen, None, labelled, jax.random.key(3), NullLog(), "refined",
        config.refinements, **options,
    )  # fmt: skip


def learned_space(config, state, base):
    model = setup.average_mirrored(config, state.teacher)
    return refinement.learned_space(model, IMAGES, base)


def right(config, state):
    probabilities = predict_probabilities(setup.average_mirrored(config, state.teacher), IMAGES)
    return (probabilities.argmax(-1) == LABELS).mean()


def test_a_network_learns_labels_propagated_over_its_own_features(trained):
    config = tiny(refinements=2)
    state, seen = trained
    before = right(config, state)
    after = right(config, refine(config, state, seen, 150))
    assert after > before + 0.05
    assert after > 0.8


def without_classes(*classes):
    return Labelled(*(part[~np.isin(LABELLED.labels, classes)] for part in LABELLED))


def test_the_surest_image_stands_for_a_class_without_a_label(trained):
    model = setup.average_mirrored(tiny(), trained[0].teacher)
    fewer = without_classes(4)
    found = refinement.with_unlabelled_classes(model, IMAGES, fewer, 10)
    shares = predict_probabilities(model, IMAGES)[:, 4]
    shares[fewer.indices] = 0
    np.testing.assert_array_equal(found.indices, [*fewer.indices, shares.argmax()])
    np.testing.assert_array_equal(found.labels, [*fewer.labels, 4])
    fewer = without_classes(3, 4, 8, 9)
    found = refinement.with_unlabelled_classes(model, IMAGES, fewer, 10)
    assert len(set(found.indices.tolist())) == len(fewer.indices) + 4
    fewer = without_classes(0, 3, 4, 8, 9)  # half of all classes: too many to guess
    assert refinement.with_unlabelled_classes(model, IMAGES, fewer, 10) is fewer
    everything = Labelled(np.arange(9), np.arange(9))
    assert len(refinement.with_unlabelled_classes(model, IMAGES[:9], everything, 10).indices) == 9
    copied = IMAGES[np.append(np.arange(600), fewer.indices)]  # no copy of a labelled image
    first = first_copies(copied)
    found = refinement.with_unlabelled_classes(model, copied, fewer, 10, first)
    assert (found.indices < 600).all()
    complete = refinement.with_unlabelled_classes(model, IMAGES, LABELLED, 10)
    assert complete is LABELLED
    # only alignment to equal shares lets a network find a class without a label
    settings = ({}, {"alignment": "labelled"}, {"objective": "graph"})
    assert [refinement.finds_unlabelled_classes(tiny(**each)) for each in settings] == [
        True, False, False
    ]  # fmt: skip


def test_a_refinement_keeps_a_class_that_the_network_found_without_a_label(trained):
    config, fewer = tiny(refinements=1), without_classes(4)
    seen = pad(IMAGES, *fewer, 64, np.zeros((len(IMAGES), 10), np.float32), np.full(10, 0.1))
    for finds_classes in (True, False):
        state = refine(config, trained[0], seen, 80, fewer, finds_classes=finds_classes)
        model = setup.average_mirrored(config, state.teacher)
        predicted = predict_probabilities(model, IMAGES).argmax(axis=1)
        kept = (predicted[LABELS == 4] == 4).mean()
        assert (kept > 0.5) if finds_classes else (kept < 0.2)


def test_each_graph_is_built_from_the_current_features(trained, monkeypatch):
    config = tiny(refinements=2)
    state, seen = trained
    spaces = []

    def watched(features, num_neighbours, **options):
        spaces.append(features)
        return nearest_neighbours(features, num_neighbours, **options)

    monkeypatch.setattr(refinement.cluster, "nearest_neighbours", watched)
    refine(config, state, seen, 5)
    np.testing.assert_array_equal(spaces[0], learned_space(config, state, None))
    assert len(spaces) == 2 and np.abs(spaces[1] - spaces[0]).max() > 0.01


def test_a_resumed_refinement_builds_graphs_only_for_trainings_without_a_checkpoint(
    trained, monkeypatch
):
    config, (state, seen), log, graphs = tiny(refinements=2), trained, TrainingMemory(), []

    def watched(features, num_neighbours, **options):
        graphs.append(features)
        return nearest_neighbours(features, num_neighbours, **options)

    monkeypatch.setattr(refinement.cluster, "nearest_neighbours", watched)

    def teacher():
        graphs.clear()
        cycle = refinement.make_cycle(config, 5)
        key = jax.random.key(3)
        refined = refinement.refine(cycle, state, seen, None, LABELLED, key, log, "refined", 2)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(refined.teacher)]

    first = teacher()
    assert len(graphs) == 2
    for removed, num_graphs in ((), 0), (("refined_0",), 1), (("refined_0", "refined_1"), 2):
        for name in removed:
            del log.checkpoints[name]
        for one, other in zip(teacher(), first, strict=True):
            np.testing.assert_array_equal(one, other)
        assert len(graphs) == num_graphs


def test_refinement_depends_on_the_number_of_labels_not_on_the_objective():
    assert refinement.should_refine(tiny(refinements=1), 150)
    assert not refinement.should_refine(tiny(refinements=1), 151)
    assert not refinement.should_refine(tiny(), 40)
    settings = refinement.make_cycle(tiny(objective="mean_teacher"), 7).settings
    assert (settings.unlabelled_weight, settings.steps) == (1, 7)


def test_learned_and_base_features_have_fixed_shares(trained, monkeypatch):
    monkeypatch.setattr(refinement, "COMPONENTS", 1000)
    config = tiny()
    state, _ = trained
    base = 100 * np.random.default_rng(0).normal(size=(len(IMAGES), 5)).astype(np.float32)
    alone = learned_space(config, state, None)
    both = learned_space(config, state, base)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(both[:, :-5], np.sqrt(0.7) * alone, rtol=1e-5)
    np.testing.assert_allclose((both[:, -5:] ** 2).sum(axis=1), 0.3, rtol=1e-5)
    assert not pretext.unit_rows(np.zeros((2, 3), np.float32)).any()


def test_many_features_are_reduced_to_principal_components(trained):
    config = tiny()
    state, _ = trained
    random = np.random.default_rng(0)
    low = random.normal(size=(len(IMAGES), 20)).astype(np.float32)
    base = low @ random.normal(size=(20, 150)).astype(np.float32)  # 150 features of rank 20
    space = learned_space(config, state, base)
    assert space.shape == (len(IMAGES), refinement.COMPONENTS)
    learned = learned_space(config, state, None)
    whole = np.asarray(pretext.concatenate_weighted(learned, base, 0.3))
    squared = ((space[:50, None] - space[None, :50]) ** 2).sum(-1)
    np.testing.assert_allclose(
        squared, ((whole[:50, None] - whole[None, :50]) ** 2).sum(-1), atol=1e-3
    )


def test_a_run_returns_the_refined_network(tmp_path, capsys):
    few = {"budget": 50, "initial_labels": 50}
    result = experiment.run(tiny(**few, refinements=1), tmp_path / "refined")
    assert result["labels_spent"] == 50 and result["config"]["refinements"] == 1
    lines = (tmp_path / "refined" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["phase"] == "refined_0_0"
    plain = experiment.run(tiny(**few), tmp_path / "plain")
    assert result["train_label_accuracy"] > plain["train_label_accuracy"] + 0.02
