import jax
import numpy as np
import pytest

from jaxlabel import data
from jaxlabel.errors import UsageError
from jaxlabel.experiment import run as experiment
from jaxlabel.log import NullLog
from jaxlabel.methods import active
from jaxlabel.oracle import LabelStore
from jaxlabel.pretext import given_points
from jaxlabel.query import Labelled
from jaxlabel.semisupervised import neighbour_graph, sequential_queries, setup
from jaxlabel.semisupervised.propagation import Propagated

OWN = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2])
MIDDLES = np.array([1, 3, 7])
NONE = np.zeros(0, int)


def most_uncertain(uncertainties, asked=NONE, count=1, excluded=NONE):
    where = sequential_queries.Regions(None, MIDDLES, OWN)
    asked, excluded = np.array(asked, int), np.array(excluded, int)
    return sequential_queries.most_uncertain(
        where, np.array(uncertainties), asked, count, excluded
    ).tolist()


def test_the_middle_of_the_region_in_which_most_is_in_doubt_is_asked():
    uncertainties = [0.0, 1.0, 0.5, 0.5, 0.0, 0.2, 0.2, 0.2, 0.2]  # squared: 1, .5, .16
    assert most_uncertain(uncertainties) == [1]
    assert most_uncertain(uncertainties, count=3) == [1, 3, 7]
    # one great doubt counts for more than two that are smaller, as the squares are added: 1, .72
    assert most_uncertain([1.0, 0.0, 0.6, 0.6, 0.0, 0, 0, 0, 0]) == [1]


def test_a_region_counts_half_for_each_of_its_images_that_was_asked():
    uncertainties = [1.0, 0.6, 0.7, 0.0, 0.0, 0.0, 0.6, 0.0, 0.0]  # 1.36, .49, .36
    assert most_uncertain(uncertainties, asked=[4]) == [1]
    assert most_uncertain(uncertainties, asked=[1]) == [0]  # .68: the middle is known
    uncertainties[5] = 0.5  # 1.36, .49, .61
    assert most_uncertain(uncertainties, asked=[5, 8]) == [1]
    assert most_uncertain(uncertainties, asked=[1, 5, 8], count=2) == [0, 3]  # .68, .49, .15
    # an asked middle gives way to the most doubtful image beside it
    assert most_uncertain([0.0, 0.0, 0.0, 0.0, 0.0, 0.3, 0.9, 0.0, 0.5], asked=[7]) == [6]


def test_what_is_barred_is_not_asked_and_does_not_count_as_asked():
    uncertainties = [1.0, 0.6, 0.7, 0.0, 0.0, 0.0, 0.6, 0.0, 0.0]
    assert most_uncertain(uncertainties, excluded=[1]) == [0]
    assert most_uncertain(uncertainties, excluded=[1], count=2) == [0, 3]
    assert most_uncertain(uncertainties, excluded=[0, 1]) == [
        3
    ]  # nothing of the first may be asked
    assert sorted(most_uncertain(uncertainties, asked=[0], excluded=[1, 8], count=20)) == [
        2,
        3,
        4,
        5,
        6,
        7,
    ]


def test_without_a_doubt_the_largest_region_is_asked_and_every_image_once():
    assert most_uncertain(np.zeros(9)) == [7]
    # sizes 2, 3, 4: one of each region in that order, and then again
    everything = most_uncertain(np.zeros(9), count=20)
    assert everything[:6] == [7, 3, 1, 5, 2, 0] and sorted(everything) == list(range(9))
    assert sorted(most_uncertain(np.zeros(9), asked=[0, 4], count=20)) == [1, 2, 3, 5, 6, 7, 8]


def test_regions_are_those_of_the_nearest_middle():
    points = np.asarray(given_points(data.load("digits").train_images, 32, "pixels"))
    spaces = setup.Spaces(points, points, neighbour_graph(points, 10, NullLog()))
    where = sequential_queries.regions(spaces, jax.random.key(0))
    away = np.linalg.norm(points[:, None] - points[where.medoids], axis=2)
    assert len(where.medoids) == sequential_queries.REGIONS
    np.testing.assert_array_equal(where.assignments, away.argmin(axis=1))
    np.testing.assert_array_equal(
        where.assignments[where.medoids], np.arange(sequential_queries.REGIONS)
    )
    with pytest.raises(TypeError, match="graph"):
        sequential_queries.regions(spaces._replace(graph=None), jax.random.key(0))


def test_scouts_go_where_no_label_has_been():
    rng = np.random.default_rng(0)
    blob = np.repeat(np.arange(12), rng.integers(30, 90, 12))
    points = (4 * np.eye(12)[blob] + 0.3 * rng.normal(size=(len(blob), 12))).astype(np.float32)
    spaces = setup.Spaces(points, points, neighbour_graph(points, 5, NullLog()))
    config = active.Config(graph_targets=1.0, sequential_until=12)
    where = sequential_queries.regions(spaces, jax.random.key(0))
    labels = blob % 3
    asked = np.flatnonzero(np.isin(blob, [2, 3, 7]))[[0, 50, -1]]
    while len(asked) < 12:
        more = sequential_queries.choose(config, where, Labelled(asked, labels[asked]), 3, 1)
        assert blob[more[0]] not in blob[asked]
        asked = np.append(asked, more)
    one = Labelled(asked[:3], np.zeros(3, int))  # of one class, of which nothing is in doubt
    more = sequential_queries.choose(config, where, one, 1, 2).tolist()
    assert len(set(more)) == 2 and set(more) <= set(where.medoids) - set(one.indices)


def test_scouts_look_for_classes_first_and_then_for_margins_too(monkeypatch):
    found = Propagated(
        np.zeros(len(OWN), int),
        certainty=np.array([1.0, 1.0, 0.0, -1.0, 0.5, 1, 1, 1, 1]),
        reach=np.array([0.2, 0.0, 1.0, 1.0, 1.0, 1, 1, 1, 1]),
    )
    monkeypatch.setattr(sequential_queries, "propagate", lambda *rest: found)
    where = sequential_queries.Regions(None, MIDDLES, OWN)
    labelled = Labelled(np.array([5, 6, 7, 8]), np.zeros(4, int))
    # far from every label: squares of .8 and 1 in the first region, none in the second
    assert sequential_queries.choose(active.Config(), where, labelled, 5, 1).tolist() == [1]
    # with as many labels as classes, half of that and of 1 - certainty: .4, .5 against .5, .5, .25
    assert sequential_queries.choose(active.Config(), where, labelled, 4, 1).tolist() == [3]


def test_a_run_asks_first_then_scouts_then_trains(tmp_path, capsys):
    settings = {
        "data": "digits",
        "network": "dense",
        "width": 8,
        "batch_size": 16,
        "mu": 2,
        "map": "none",
        "space": "pca",
        "graph_targets": 1.0,
        "round_steps": 2,
        "steps": 2,
        "distil_steps": 2,
        "initial_labels": 4,
        "sequential_until": 9,
        "growth": 2.0,
    }
    result = experiment.run(
        active.Config(**settings, sequential_batch=2, budget=20), tmp_path / "a"
    )
    assert result["labels_spent"] == 20
    store = LabelStore(f"sqlite:///{tmp_path}/a/labels.db")
    rounds = [row.round for row in store.ledger(store.accounts()[0].name)]
    store.close()
    assert np.bincount(rounds).tolist() == [4, 2, 2, 1, 9, 2]
    rounds = sorted(path.name for path in (tmp_path / "a/checkpoints").glob("round_*"))
    assert rounds == ["round_3", "round_4"]  # nothing is trained before the scouts are done
    few = experiment.run(active.Config(**settings, budget=6), tmp_path / "b")
    assert few["labels_spent"] == 6 and few["stopped_by"] == "budget"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "sequential_until=10 .*take config.sequential_until=0"),
        (
            {"graph_targets": 1.0, "graph_targets_until": 9},
            "sequential_until=10 .*graph_targets_until",
        ),
        (
            {"graph_targets": 1.0, "propagation": "diffusion"},
            "propagation=diffusion .*: take poisson or",
        ),
        ({"objective": "graph", "propagation": "mbo"}, "propagation=mbo gives none"),
    ],
)
def test_scouts_need_spread_labels_with_doubts(changes, told):
    with pytest.raises(UsageError, match=told):
        active.Config(sequential_until=10, **changes).check()
    active.Config(sequential_until=10, objective="graph").check()
    active.Config(
        sequential_until=10, graph_targets=1.0, graph_targets_until=10, propagation="spreading"
    ).check()
