import jax
import numpy as np
import pytest

from jaxlabel import data, experiment
from jaxlabel.errors import UsageError
from jaxlabel.log import NullLog
from jaxlabel.methods import active
from jaxlabel.oracle import LabelStore
from jaxlabel.pretext import given_points
from jaxlabel.query import Paid
from jaxlabel.semisupervised import neighbour_graph, problem, scouting
from jaxlabel.semisupervised.propagation import Spread

OWN = np.array([0, 0, 0, 1, 1, 1, 2, 2])
MIDDLES = np.array([1, 4, 6])
NONE = np.zeros(0, int)


def most_in_doubt(certainty, asked=NONE, count=1):
    around = scouting.Ground(None, MIDDLES, OWN)
    found = Spread(np.zeros(len(OWN), int), np.array(certainty))
    return scouting.most_in_doubt(around, found, np.array(asked, int), count).tolist()


def test_the_middle_of_the_region_in_which_most_is_in_doubt_is_asked():
    # sums of squared doubts: .25 + .25 + 0, .09 * 3, 1 (unreached, so -1, is no more than 1) + 0
    certainty = [0.5, 0.5, 1.0, 0.7, 0.7, 0.7, -1.0, 1.0]
    assert most_in_doubt(certainty) == [6]
    assert most_in_doubt(certainty, count=3) == [6, 1, 4]
    # the third region's 1 is halved, twice
    assert most_in_doubt(certainty, asked=[7], count=2) in ([1, 6], [6, 1])
    assert most_in_doubt(certainty, asked=[6, 7], count=2) == [1, 4]
    # an asked middle gives way to the most doubtful image beside it: equal ones to the first
    assert most_in_doubt([0.9, 1.0, 0.2, 1, 1, 1, 1, 1], asked=[1]) == [2]


def test_without_a_doubt_the_largest_region_is_asked_and_every_image_once():
    assert most_in_doubt(np.ones(8)) == [1]
    everything = most_in_doubt(np.ones(8), asked=[0], count=7)
    assert sorted(everything) == [1, 2, 3, 4, 5, 6, 7]
    assert most_in_doubt(np.ones(8), asked=[0], count=20) == everything


def test_regions_are_those_of_the_nearest_middle():
    points = np.asarray(given_points(data.load("digits").train_images, 32, "pixels"))
    config = active.Config(guide=1.0, scout_until=10)
    spaces = problem.Spaces(points, points, neighbour_graph(points, 10, NullLog()))
    around = scouting.ground(config, spaces, jax.random.key(0))
    away = np.linalg.norm(points[:, None] - points[around.middles], axis=2)
    assert len(around.middles) == scouting.REGIONS
    np.testing.assert_array_equal(around.own, away.argmin(axis=1))
    np.testing.assert_array_equal(around.own[around.middles], np.arange(scouting.REGIONS))
    assert scouting.ground(config, spaces._replace(graph=None), jax.random.key(0)) is None


def test_scouts_go_where_no_label_has_been():
    rng = np.random.default_rng(0)
    blob = np.repeat(np.arange(12), rng.integers(30, 90, 12))
    points = (4 * np.eye(12)[blob] + 0.3 * rng.normal(size=(len(blob), 12))).astype(np.float32)
    spaces = problem.Spaces(points, points, neighbour_graph(points, 5, NullLog()))
    config = active.Config(guide=1.0, scout_until=12)
    around = scouting.ground(config, spaces, jax.random.key(0))
    labels = blob % 3
    asked = np.flatnonzero(np.isin(blob, [2, 3, 7]))[[0, 50, -1]]
    while len(asked) < 12:
        more = scouting.ask(config, around, Paid(asked, labels[asked]), 3, 1)
        assert blob[more[0]] not in blob[asked]
        asked = np.append(asked, more)


def test_a_run_asks_first_then_scouts_then_trains(tmp_path, capsys):
    settings = {"data": "digits", "network": "dense", "width": 8, "batch_size": 16, "mu": 2,
                "map": "none", "space": "pca", "guide": 1.0, "round_steps": 2, "steps": 2,
                "distil_steps": 2, "first": 4, "scout_until": 9, "growth": 2.0}  # fmt: skip
    result = experiment.run(active.Config(**settings, scouts=2, budget=20), tmp_path / "a")
    assert result["labels_spent"] == 20
    store = LabelStore(f"sqlite:///{tmp_path}/a/labels.db")
    rounds = [row.round for row in store.ledger(store.accounts()[0].name)]
    store.close()
    assert np.bincount(rounds).tolist() == [4, 2, 2, 1, 9, 2]
    rounds = sorted(path.name for path in (tmp_path / "a/checkpoints").glob("round_*"))
    assert rounds == ["round_3", "round_4"]  # nothing is trained before the scouts are done
    few = experiment.run(active.Config(**settings, budget=6), tmp_path / "b")
    assert few["labels_spent"] == 6 and few["stopped_by"] == "budget"


def test_scouts_need_spread_labels_with_doubts():
    with pytest.raises(UsageError, match="guide"):
        active.Config(scout_until=10).check()
    with pytest.raises(UsageError, match="guide_until"):
        active.Config(scout_until=10, guide=1.0, guide_until=9).check()
    with pytest.raises(UsageError, match="diffusion"):
        active.Config(scout_until=10, guide=1.0, propagation="diffusion").check()
    active.Config(scout_until=10, objective="graph").check()
