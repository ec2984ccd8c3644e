"""The scikit-learn classifier: scikit-learn's own checks, and what its documentation promises."""

import pickle

import numpy as np
import pytest
from missing import NA
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxlabel.errors import UsageError
from jaxlabel.sklearn import FewLabelClassifier

TINY = {"preset": "tiny", "network": "dense", "width": 4, "steps": 40, "batch_size": 16,
        "learning_rate": 2e-2, "random_state": 0}  # fmt: skip
# the convention of sklearn.semi_supervised: -1 means that there is no label
EXPECTED = {
    "check_classifiers_classes": "it fits classes called -1 and 1, and -1 means no label here",
}


@parametrize_with_checks(
    [FewLabelClassifier("supervised", **TINY)], expected_failed_checks=lambda estimator: EXPECTED
)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def test_few_checks_are_expected_to_fail():
    assert len(EXPECTED) <= 8


@pytest.fixture(scope="module")
def blobs():
    X, classes = make_blobs(300, centers=3, cluster_std=0.6, random_state=0)
    y = np.full(300, -1)
    for number in range(3):
        y[np.flatnonzero(classes == number)[:4]] = number
    return X, y, classes


def test_samples_without_a_label_are_learned_from(blobs):
    X, y, classes = blobs
    classifier = FewLabelClassifier(**TINY).fit(X, y)
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert classifier.n_features_in_ == 2 and classifier.n_iter_ == 40
    assert np.mean(classifier.predict(X) == classes) == classifier.score(X, classes) > 0.85
    assert classifier.score(X, y) == np.mean(classifier.predict(X[y >= 0]) == y[y >= 0])
    shares = classifier.predict_proba(X)
    assert shares.shape == (300, 3) and np.allclose(shares.sum(axis=1), 1)


@pytest.mark.parametrize("missing", [None, np.nan, ""])
def test_strings_without_a_label_are_none_nan_or_empty(missing, blobs):
    X, y, _ = blobs
    names = np.array(["a", "b", "c", missing], object)[y]
    by_number = FewLabelClassifier(**TINY).fit(X, y)
    for given in (names, names.tolist()):
        by_name = FewLabelClassifier(**TINY).fit(X, given)
        assert by_name.classes_.tolist() == ["a", "b", "c"]
        assert np.array_equal(by_name.predict_proba(X), by_number.predict_proba(X))


def test_the_missing_value_of_pandas_is_no_label(blobs):
    X, y, _ = blobs
    options = TINY | {"steps": 5}
    by_number = FewLabelClassifier(**options).fit(X, y)
    for names in (np.array([0, 1, 2, NA], object)[y], np.array(["a", "b", "c", NA], object)[y]):
        for given in (names, names.tolist()):
            classifier = FewLabelClassifier(**options).fit(X, given)
            assert classifier.classes_.tolist() == sorted(set(names[y >= 0].tolist()))
            assert np.array_equal(classifier.predict_proba(X), by_number.predict_proba(X))
            assert classifier.score(X, given) == by_number.score(X, y)
    with pytest.raises(ValueError, match="y has no label"):
        FewLabelClassifier(**options).fit(X, [NA] * 300)


def test_a_pickle_and_a_clone_predict_the_same(blobs):
    X, y, _ = blobs
    classifier = FewLabelClassifier(**TINY).fit(X, y)
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.predict_proba(X), classifier.predict_proba(X))
    same = clone(classifier).fit(X, y)
    assert np.array_equal(same.predict_proba(X), classifier.predict_proba(X))
    assert "_model" not in vars(clone(classifier))


def test_pipelines_and_grid_searches_take_it(blobs):
    X, y, classes = blobs
    pipeline = make_pipeline(StandardScaler(), FewLabelClassifier(**TINY)).fit(X, y)
    assert pipeline.score(X, classes) > 0.85
    grid = {"learning_rate": [1e-6, 2e-2]}
    search = GridSearchCV(FewLabelClassifier(**TINY), grid, cv=2).fit(X, y)
    assert search.best_params_ == {"learning_rate": 2e-2}


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_after_a_fit_that_did_not_finish_nothing_is_predicted(error, blobs, monkeypatch):
    def stop(*_):
        raise error

    X, y, _ = blobs
    options = TINY | {"objective": "supervised", "steps": 2}
    unfinished, fitted = FewLabelClassifier(**options), FewLabelClassifier(**options).fit(X, y)
    monkeypatch.setattr("jaxlabel.sklearn.train_network", stop)
    for classifier in (unfinished, fitted):
        with pytest.raises(error):
            classifier.fit(X, y)
        for one in (classifier, pickle.loads(pickle.dumps(classifier))):
            with pytest.raises(NotFittedError):
                one.predict(X)
        assert not hasattr(classifier, "classes_") and not hasattr(classifier, "n_iter_")
    wrong = FewLabelClassifier("mixmatsch", **TINY)
    with pytest.raises(UsageError):
        wrong.fit(X, y)
    with pytest.raises(NotFittedError):
        wrong.predict_proba(X)


def test_a_single_class_is_predicted_without_a_training(blobs):
    X, y, _ = blobs
    classifier = FewLabelClassifier(**TINY).fit(X, np.where(y == 2, 2, -1))
    for one in (classifier, pickle.loads(pickle.dumps(classifier))):
        assert one.predict(X).tolist() == [2] * 300 and one.n_iter_ == 0
        assert np.array_equal(one.predict_proba(X), np.ones((300, 1)))


def test_images_are_the_same_with_and_without_their_shape():
    digits = load_digits()
    X, y = digits.data[:200] / 16, digits.target[:200].copy()
    y[100:] = -1
    options = TINY | {"objective": "supervised", "steps": 100, "width": 8, "kind": "digits"}
    flat = FewLabelClassifier(image_shape=(8, 8), **options).fit(X, y)
    square = FewLabelClassifier(**options).fit(X.reshape(-1, 8, 8), y)
    byte = FewLabelClassifier(**options).fit(
        np.round(255 * X).astype(np.uint8).reshape(-1, 8, 8), y
    )
    assert flat.n_features_in_ == square.n_features_in_ == 64
    shares = flat.predict_proba(X)
    assert np.array_equal(square.predict_proba(X.reshape(-1, 8, 8)), shares)
    assert np.array_equal(byte.predict_proba(X.reshape(-1, 8, 8)), shares)
    assert flat.score(X[:100], y[:100]) > 0.8
    pipeline = make_pipeline(MinMaxScaler((0, 1), clip=True), clone(flat)).fit(digits.data[:200], y)
    assert pipeline.predict(digits.data[:3]).shape == (3,)
    of_array = FewLabelClassifier(image_shape=np.array([8, 8]))._to_images(X, fitting=True)
    assert np.array_equal(of_array, flat._to_images(X, fitting=False))
    with pytest.raises(ValueError, match=r"fitted to images of shape \(8, 8, 1\)"):
        square.predict(np.zeros((2, 6, 6)))
    with pytest.raises(ValueError, match="fitted to images"):
        square.predict(X)


def test_colour_and_grey_pictures_are_converted_as_the_training_pictures_were():
    X = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), np.uint8)
    y = [0, 1] * 6
    grey = np.repeat(X[..., :1], 3, axis=-1)
    options = TINY | {"objective": "supervised", "steps": 2}
    colour = FewLabelClassifier(**options).fit(X, y)
    mixed = colour.predict_proba(np.concatenate([grey, X]))
    assert np.allclose(colour.predict_proba(grey), mixed[:12], atol=1e-6)
    assert FewLabelClassifier(**options).fit(grey, y).predict_proba(X).shape == (12, 2)


def test_what_does_not_fit_is_refused(blobs):
    X, y, _ = blobs
    with pytest.raises(ValueError, match="y has no label"):
        FewLabelClassifier(**TINY).fit(X, np.full(300, -1))
    with pytest.raises(ValueError, match="strings and numbers"):
        FewLabelClassifier(**TINY).fit(X[:4], np.array(["a", 1, 2, None], object))
    for missing in (np.nan, -1):  # NumPy makes strings of them
        names = np.array(["cat", missing, "dog", missing])
        with pytest.raises(ValueError, match=f"the string '{missing}', .* the empty string ''"):
            FewLabelClassifier(**TINY).fit(X[:4], names)
    with pytest.raises(ValueError, match="the string '-1'"):
        FewLabelClassifier(**TINY).fit(X[:2], ["cat", "-1"])
    with pytest.raises(ValueError, match="divide by the largest value"):
        FewLabelClassifier(**TINY).fit(np.full((4, 8, 8), 255.0), [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"3 features, image_shape is \(8, 8\)"):
        FewLabelClassifier(image_shape=(8, 8), **TINY).fit(np.zeros((4, 3)), [0, 1, 0, 1])
    with pytest.raises(UsageError, match=r"it takes one of supervised, .*mixmatch"):
        FewLabelClassifier("mixmatsch", **TINY).fit(X, y)
    with pytest.raises(UsageError, match="did you mean mu"):
        FewLabelClassifier(settings={"muu": 3}, **TINY).fit(X, y)
    with pytest.raises(UsageError, match="settings is 'mu=7': it takes a dict"):
        FewLabelClassifier(settings="mu=7", **TINY).fit(X, y)
    for shape in (64, "8x8", (8.0, 8.0), (64,), (8, -8)):
        with pytest.raises(ValueError, match=r"image_shape is .*: it takes \(height, width\)"):
            FewLabelClassifier(image_shape=shape, **TINY).fit(np.zeros((4, 64)), [0, 1, 0, 1])
    for lengths in ((2, 3, 3), (3, 2, 3), (3, 3, 2)):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            parts = (X[: lengths[0]], np.zeros(lengths[1], int), np.ones(lengths[2]))
            FewLabelClassifier(**TINY).score(*parts)
