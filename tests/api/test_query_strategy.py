"""`QueryStrategy`: scikit-activeml's contract, and what its own strategies pick."""

import jax
import numpy as np
import pytest
from missing import NA
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression

from jaxlabel import QueryStrategy, cluster, query
from jaxlabel.api.query_strategy import is_missing
from jaxlabel.errors import DataError, UsageError
from jaxlabel.query.cover import BALL, ball_radius

X, CLASSES = make_blobs(240, centers=12, cluster_std=0.6, center_box=(-8, 8), random_state=1)
X = X.astype(np.float32)
SEED = np.random.RandomState(0).randint(2**31 - 1)  # of random_state=0


def labels(count):
    y = np.full(len(X), np.nan)
    y[:count] = CLASSES[:count]
    return y


def shares():
    return LogisticRegression(max_iter=500).fit(X[:60], CLASSES[:60]).predict_proba(X)


@pytest.mark.parametrize("strategy", query.STRATEGIES)
def test_every_strategy_keeps_the_contract(strategy):
    y, chooser = labels(60), QueryStrategy(strategy, random_state=0)
    more = {"probabilities": shares()} if query.needs_model(strategy) else {}
    picks, utilities = chooser.query(X, y, batch_size=5, return_utilities=True, **more)
    assert len(set(picks.tolist())) == 5 and picks.min() >= 60
    assert utilities.shape == (5, 240) and np.isnan(utilities[:, :60]).all()
    assert np.nanargmax(utilities, axis=1).tolist() == picks.tolist()
    assert np.isnan(utilities[4, picks[:4]]).all()
    assert np.array_equal(chooser.query(X, y, batch_size=5, **more), picks)
    among = np.arange(100, 120)
    assert set(chooser.query(X, y, among, 5, **more).tolist()) <= set(among.tolist())
    others = {"probabilities": shares()[100:120]} if more else {}
    found, rated = chooser.query(X, y, X[100:120], 5, True, **others)
    assert found.max() < 20 and rated.shape == (5, 20)
    assert clone(chooser).get_params() == chooser.get_params()


def test_a_classifier_gives_the_probabilities():
    y, chooser = labels(60), QueryStrategy("margin", random_state=0)
    picks = chooser.query(X, y, batch_size=5, clf=LogisticRegression(max_iter=500))
    assert np.array_equal(picks, chooser.query(X, y, batch_size=5, probabilities=shares()))
    fitted = LogisticRegression(max_iter=500).fit(X[:60], CLASSES[:60])
    assert np.array_equal(picks, chooser.query(X, y, batch_size=5, clf=fitted, fit_clf=False))


def test_labels_may_be_missing_in_three_ways():
    wanted = QueryStrategy("coreset", random_state=0).query(X, labels(60))
    for missing in (None, -1, ""):
        y = [CLASSES[i] if i < 60 else missing for i in range(240)]
        chooser = QueryStrategy("coreset", missing_label=missing, random_state=0)
        assert np.array_equal(chooser.query(X, np.array(y, object)), wanted)
    chooser = QueryStrategy("coreset", missing_label=np.float32("nan"), random_state=0)
    assert np.array_equal(chooser.query(X, labels(60)), wanted)
    names = [f"class {CLASSES[i]}" if i < 60 else np.nan for i in range(240)]
    for y in (names, np.array(names, object)):
        assert np.array_equal(QueryStrategy("coreset", random_state=0).query(X, y), wanted)
    strategy, model = QueryStrategy("margin", random_state=0), LogisticRegression(max_iter=500)
    assert np.array_equal(
        strategy.query(X, names, clf=model), strategy.query(X, labels(60), clf=model)
    )


def test_the_missing_value_of_pandas_is_no_label():
    given = np.array([CLASSES[i] if i < 60 else NA for i in range(240)], object)
    wanted = QueryStrategy("coreset", random_state=0).query(X, labels(60))
    for missing in (NA, np.nan, None, -1, ""):
        chooser = QueryStrategy("coreset", missing_label=missing, random_state=0)
        assert np.array_equal(chooser.query(X, given), wanted)
    assert is_missing(["a", NA, np.nan, ""], NA).tolist() == [False, True, True, False]
    assert is_missing(["a", NA, None, ""], None).tolist() == [False, True, True, False]
    chooser = QueryStrategy("coreset", missing_label=NA, random_state=0)
    assert np.array_equal(chooser.query(X, labels(60)), wanted)
    strategy, model = QueryStrategy("margin", random_state=0), LogisticRegression(max_iter=500)
    assert np.array_equal(
        strategy.query(X, given, clf=model), strategy.query(X, labels(60), clf=model)
    )


def test_what_does_not_fit_is_refused():
    chooser = QueryStrategy("margin")
    with pytest.raises(UsageError, match="pass clf or probabilities"):
        chooser.query(X, labels(60))
    for arguments, message in (
        ((X, labels(60)[:9]), "9 labels for 240 samples"),
        ((X, labels(60), [240]), "go from 0 to 239"),
        ((X, labels(60), X[:3, :1]), "candidates has 1 features"),
        ((np.full((240, 2), np.nan), labels(60)), "NaN"),
        ((X, None), "y is None"),
        ((X, labels(60)[:, None]), r"y is of shape \(240, 1\)"),
        ((X, [-1] * 240), r"none equals missing_label \(nan\).*pass missing_label=-1"),
    ):
        with pytest.raises(DataError, match=message):
            QueryStrategy("random").query(*arguments)
    for size in (2.5, 0, "2", None):
        with pytest.raises(UsageError, match=r"batch_size is .*: it takes a whole number of at"):
            QueryStrategy("random").query(X, labels(60), batch_size=size)
    with_nan = shares()
    with_nan[70, 1] = np.nan
    for given, message in (
        (with_nan, "probabilities holds NaN"),
        (shares()[:9], r"probabilities has the shape \(9, .*it takes \(240, classes\)"),
    ):
        with pytest.raises(DataError, match=message):
            chooser.query(X, labels(60), probabilities=given)


def theirs(name, **arguments):
    pool = pytest.importorskip("skactiveml.pool", reason="needs the extra dev: scikit-activeml")
    return getattr(pool, name)(random_state=0, **arguments)


class OurKMeans:
    """jaxlabel's clusters, with scikit-learn's interface."""

    def __init__(self, n_clusters):
        self.n_clusters = n_clusters

    def fit_predict(self, X):
        found = cluster.kmeans(jax.random.key(SEED), X, self.n_clusters, num_iterations=30)
        return np.asarray(found.assignments)


@pytest.mark.parametrize("count", [0, 4])
def test_typiclust_picks_what_scikit_activeml_picks_of_the_same_clusters(count):
    # its own k-means starts otherwise and finds other clusters: of its 12 picks 10 were ours
    strategy = theirs("TypiClust", cluster_algo=OurKMeans, k=20)
    wanted = strategy.query(X, labels(count), batch_size=8)
    picks = QueryStrategy("typiclust", random_state=0).query(X, labels(count), batch_size=8)
    assert set(picks.tolist()) == set(wanted.tolist())


def test_coreset_picks_what_scikit_activeml_picks():
    wanted = theirs("CoreSet").query(X, labels(4), batch_size=20)
    picks = QueryStrategy("coreset", random_state=0).query(X, labels(4), batch_size=20)
    assert picks.tolist() == wanted.tolist()


@pytest.mark.filterwarnings("ignore:The maximum purity")  # it is given one radius to take
@pytest.mark.parametrize("count", [0, 4])
def test_probcover_picks_what_scikit_activeml_rates_best(count):
    # many samples cover equally many: it draws one of them, jaxlabel takes the first
    points = X - X.mean(axis=0)
    radius = BALL * ball_radius(jax.random.key(SEED), points, count + 10)
    picks = QueryStrategy("probcover", random_state=0).query(X, labels(count), batch_size=10)
    y = labels(count)
    for pick in picks:
        strategy = theirs("ProbCover", deltas=[radius], n_classes=12)
        _, utilities = strategy.query(X, y, return_utilities=True)
        assert utilities[0, pick] == np.nanmax(utilities)
        y[pick] = 0


def test_badge_draws_as_scikit_activeml_does():
    # It takes the longest gradient first, where jaxlabel draws one with the shares that it reports;
    # for the second, it also counts a gradient of zero as chosen, which the paper does not.
    base = pytest.importorskip("skactiveml.classifier", reason="needs the extra dev")
    y = labels(240)
    free = np.arange(100, 110)
    y[free] = np.nan
    classifier = base.SklearnClassifier(
        LogisticRegression(max_iter=500, C=0.01), classes=range(12), random_state=0
    ).fit(X, y)
    strategy = theirs("Badge")
    first, rated = strategy.query(X, y, classifier, batch_size=2, return_utilities=True)
    key, given = jax.random.key(1), classifier.predict_proba(X)
    residuals = given - np.eye(12)[given.argmax(axis=1)]
    gradients = (residuals[:, :, None] * X[:, None]).reshape(240, -1)[free]
    away = np.sum((gradients - gradients[free == first[0]]) ** 2, axis=1)
    nearest = np.minimum(away, np.sum(gradients**2, axis=1))
    wanted = np.where(free == first[0], np.nan, nearest / nearest.sum())
    np.testing.assert_allclose(rated[1, free], wanted, rtol=1e-4)
    expected = np.zeros((2, 240))
    expected[0, free], expected[1, free] = rated[0, free], away / away.sum()
    counts = np.zeros((2, 240))
    for number in range(1500):
        one, two = query.select(
            "badge",
            jax.random.fold_in(key, number),
            X,
            2,
            np.setdiff1d(np.arange(240), free),
            given,
        )
        counts[0, one] += 1
        if one == first[0]:
            counts[1, two] += 1
    for row, wanted in zip(counts, expected, strict=True):
        assert row.sum() > 150
        assert np.abs(row / row.sum() - wanted).sum() / 2 < 0.1  # total variation
