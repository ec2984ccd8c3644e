import shutil
import types

import jax
import numpy as np
import orbax.checkpoint as orbax
import pytest

import jaxlabel
from jaxlabel import data
from jaxlabel.experiment import run as experiment
from jaxlabel.log import NullLog
from jaxlabel.methods import active, rounds
from jaxlabel.oracle import LabelStore
from jaxlabel.pretext import input_components
from jaxlabel.query import Labelled
from jaxlabel.runlog import checkpoints
from jaxlabel.semisupervised import neighbour_graph, sequential_queries, setup
from jaxlabel.semisupervised.propagation import Propagated

ASSIGNMENTS = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2])
MEDOIDS = np.array([1, 3, 7])
NONE = np.zeros(0, int)


def most_uncertain(uncertainties, asked=NONE, count=1, excluded=NONE):
    regions = sequential_queries.Regions(None, MEDOIDS, ASSIGNMENTS)
    asked, excluded = np.array(asked, int), np.array(excluded, int)
    return sequential_queries.most_uncertain(
        regions, np.array(uncertainties), asked, count, excluded
    ).tolist()


def test_the_medoid_of_the_most_uncertain_region_is_chosen():
    uncertainties = [0.0, 1.0, 0.5, 0.5, 0.0, 0.2, 0.2, 0.2, 0.2]  # squared: 1, .5, .16
    assert most_uncertain(uncertainties) == [1]
    assert most_uncertain(uncertainties, count=3) == [1, 3, 7]
    # one large uncertainty counts more than two smaller ones, as squares are added: 1, .72
    assert most_uncertain([1.0, 0.0, 0.6, 0.6, 0.0, 0, 0, 0, 0]) == [1]


def test_each_labelled_image_halves_the_uncertainty_of_its_region():
    uncertainties = [1.0, 0.6, 0.7, 0.0, 0.0, 0.0, 0.6, 0.0, 0.0]  # 1.36, .49, .36
    assert most_uncertain(uncertainties, asked=[4]) == [1]
    assert most_uncertain(uncertainties, asked=[1]) == [0]  # .68: the medoid is labelled
    uncertainties[5] = 0.5  # 1.36, .49, .61
    assert most_uncertain(uncertainties, asked=[5, 8]) == [1]
    assert most_uncertain(uncertainties, asked=[1, 5, 8], count=2) == [0, 3]  # .68, .49, .15
    # if the medoid is labelled, the most uncertain image of its region is chosen
    assert most_uncertain([0.0, 0.0, 0.0, 0.0, 0.0, 0.3, 0.9, 0.0, 0.5], asked=[7]) == [6]


def test_excluded_images_are_not_chosen_and_do_not_count_as_labelled():
    uncertainties = [1.0, 0.6, 0.7, 0.0, 0.0, 0.0, 0.6, 0.0, 0.0]
    assert most_uncertain(uncertainties, excluded=[1]) == [0]
    assert most_uncertain(uncertainties, excluded=[1], count=2) == [0, 3]
    assert most_uncertain(uncertainties, excluded=[0, 1]) == [
        3
    ]  # no image of the first region can be chosen
    assert sorted(most_uncertain(uncertainties, asked=[0], excluded=[1, 8], count=20)) == [
        2,
        3,
        4,
        5,
        6,
        7,
    ]


def test_without_uncertainty_the_largest_region_is_first_and_no_image_comes_twice():
    assert most_uncertain(np.zeros(9)) == [7]
    # sizes 2, 3, 4: one of each region in that order, and then again
    everything = most_uncertain(np.zeros(9), count=20)
    assert everything[:6] == [7, 3, 1, 5, 2, 0] and sorted(everything) == list(range(9))
    assert sorted(most_uncertain(np.zeros(9), asked=[0, 4], count=20)) == [1, 2, 3, 5, 6, 7, 8]


def test_regions_hold_the_images_nearest_to_their_medoid():
    points = np.asarray(input_components(data.load("digits").train_images, 32, "pixels"))
    spaces = setup.Spaces(points, points, neighbour_graph(points, 10, NullLog()))
    regions = sequential_queries.find_regions(spaces, jax.random.key(0))
    away = np.linalg.norm(points[:, None] - points[regions.medoids], axis=2)
    assert len(regions.medoids) == sequential_queries.REGIONS
    np.testing.assert_array_equal(regions.assignments, away.argmin(axis=1))
    np.testing.assert_array_equal(
        regions.assignments[regions.medoids], np.arange(sequential_queries.REGIONS)
    )
    with pytest.raises(TypeError, match="graph"):
        sequential_queries.find_regions(spaces._replace(graph=None), jax.random.key(0))


def test_sequential_queries_choose_clusters_without_a_label():
    rng = np.random.default_rng(0)
    blob = np.repeat(np.arange(12), rng.integers(30, 90, 12))
    points = (4 * np.eye(12)[blob] + 0.3 * rng.normal(size=(len(blob), 12))).astype(np.float32)
    spaces = setup.Spaces(points, points, neighbour_graph(points, 5, NullLog()))
    config = active.Config()
    regions = sequential_queries.find_regions(spaces, jax.random.key(0))
    labels = blob % 3
    asked = np.flatnonzero(np.isin(blob, [2, 3, 7]))[[0, 50, -1]]
    while len(asked) < 12:
        more = sequential_queries.choose_queries(
            config, regions, Labelled(asked, labels[asked]), 3, 1
        )
        assert blob[more[0]] not in blob[asked]
        asked = np.append(asked, more)
    one = Labelled(asked[:3], np.zeros(3, int))  # with one class, nothing is uncertain
    more = sequential_queries.choose_queries(config, regions, one, 1, 2).tolist()
    assert len(set(more)) == 2 and set(more) <= set(regions.medoids) - set(one.indices)


def test_the_medoid_of_a_region_is_the_first_of_identical_images():
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    of = np.repeat(np.arange(50), 5)
    copies = points[of] + 1e-6 * np.random.default_rng(1).normal(size=(250, 3)).astype(np.float32)
    graph = neighbour_graph(copies, 5, NullLog(), of * 5)
    regions = sequential_queries.find_regions(
        setup.Spaces(copies, copies, graph), jax.random.key(0), 20
    )
    np.testing.assert_array_equal(regions.medoids % 5, 0)


def test_sequential_queries_use_reach_first_and_then_margins_too(monkeypatch):
    found = Propagated(
        np.zeros(len(ASSIGNMENTS), int),
        certainty=np.array([1.0, 1.0, 0.0, -1.0, 0.5, 1, 1, 1, 1]),
        reach=np.array([0.2, 0.0, 1.0, 1.0, 1.0, 1, 1, 1, 1]),
    )
    monkeypatch.setattr(sequential_queries, "propagate", lambda *rest: found)
    regions = sequential_queries.Regions(None, MEDOIDS, ASSIGNMENTS)
    labelled = Labelled(np.array([5, 6, 7, 8]), np.zeros(4, int))
    # far from every label: squares of .8 and 1 in the first region, none in the second
    assert sequential_queries.choose_queries(active.Config(), regions, labelled, 5, 1).tolist() == [
        1
    ]
    # with as many labels as classes, half of that and of 1 - certainty: .4, .5 against .5, .5, .25
    assert sequential_queries.choose_queries(active.Config(), regions, labelled, 4, 1).tolist() == [
        3
    ]


def test_a_run_buys_initial_labels_then_sequential_ones_then_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(sequential_queries, "UNTIL", 9)
    settings = {
        "data": "digits",
        "network": "dense",
        "width": 8,
        "batch_size": 16,
        "mu": 2,
        "steps": 2,
        "initial_labels": 4,
        "refinements": 1,
    }
    result = experiment.run(active.Config(**settings, budget=20), tmp_path / "a")
    assert result["labels_spent"] == 20
    store = LabelStore(f"sqlite:///{tmp_path}/a/labels.db")
    rounds = [row.round for row in store.ledger(store.accounts()[0].name)]
    store.close()
    assert np.bincount(rounds).tolist() == [4, 1, 1, 1, 1, 1, 5, 6]
    rounds = sorted(path.name for path in (tmp_path / "a/checkpoints").glob("round_*"))
    assert rounds == [
        "round_5",
        "round_6",
    ]  # no network is trained before the sequential queries end
    few = experiment.run(active.Config(**settings, budget=6), tmp_path / "b")
    assert few["labels_spent"] == 6 and few["stopped_by"] == "budget"


def test_between_sequential_queries_the_network_learns_the_space_they_are_chosen_in(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sequential_queries, "UNTIL", 12)
    monkeypatch.setattr(sequential_queries, "FIRST_TRAINING", 6)
    config = active.Config(
        data="digits", network="dense", width=8, batch_size=16, mu=2,
        steps=2, initial_labels=4, budget=18, refinements=1,
    )  # fmt: skip
    result = experiment.run(config, tmp_path)
    store = LabelStore(f"sqlite:///{tmp_path}/labels.db")
    bought = store.ledger(store.accounts()[0].name)
    assert np.bincount([row.round for row in bought]).tolist() == [4, *[1] * 8, 6]
    made = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert {name for name in made if name.startswith("round_")} == {"round_2", "round_6", "round_8"}
    learned = {f"learned_{number}_{part}" for number in (2, 6) for part in ("0", "regions")}
    assert {name for name in made if name.startswith("learned")} == learned
    # begun again from its checkpoints, without the later choices, the run makes the same ones
    (tmp_path / "result.json").unlink()
    for number in range(3, 10):
        shutil.rmtree(tmp_path / f"checkpoints/asked_{number}")
    again = experiment.run(config, tmp_path)
    assert again["test_accuracy"] == result["test_accuracy"]
    assert [row.item for row in store.ledger(store.accounts()[0].name)] == [r.item for r in bought]
    store.close()
    # a lost network is trained again on the same targets, although its regions are still there
    before = saved(tmp_path / "checkpoints/learned_2_0")
    shutil.rmtree(tmp_path / "checkpoints/learned_2_0")
    (tmp_path / "result.json").unlink()
    experiment.run(config, tmp_path)
    after = saved(tmp_path / "checkpoints/learned_2_0")
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def saved(folder):
    manager = checkpoints.open_manager(folder)
    arrays = manager.restore(manager.latest_step(), args=orbax.args.StandardRestore())
    manager.close()
    return arrays


def test_sequential_queries_need_propagated_labels_over_learned_features():
    learned = {"refinements": 2}
    until = [
        active.Config(**settings).sequential_until
        for settings in (
            learned, {"contrast_steps": 5}, learned | {"objective": "graph"}, {},
            learned | {"query": "random"}, learned | {"objective": "vat"},
        )
    ]  # fmt: skip
    assert until == [100, 100, 100, 0, 0, 0]


def test_a_person_is_asked_several_sequential_queries_at_a_time():
    def label_counts(labels, **oracle):
        config = active.Config(refinements=1)
        given = {"config": config, "regions": (), "oracle": types.SimpleNamespace(**oracle)}
        context = rounds.Context(*[None] * 8)._replace(**given)
        return [rounds.num_labels_after_round(context, count) for count in labels]

    labels = [0, 20, 81, 99, 100]
    assert label_counts(labels, recorded=True) == [20, 21, 82, 100, 160]
    assert label_counts(labels, recorded=False) == [20, 40, 100, 100, 160]


def test_somebody_who_is_asked_gets_several_sequential_queries_at_a_time():
    images, labels = data.load("digits").train_images[:90], data.load_train_labels("digits")
    asked = []

    def ask(indices):
        asked.append(len(indices))
        return labels[indices]

    few = {"preset": "tiny", "steps": 2, "initial_labels": 4}
    jaxlabel.fit(images, ask, budget=25, **few)
    assert asked == [4, 20, 1]
    result = jaxlabel.fit(images, labels[:90], budget=6, **few)  # nobody is asked
    assert [row.labels for row in result.ledger] == [4, 1, 1]
