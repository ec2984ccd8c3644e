import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.linear_model import LogisticRegression

from jaxlabel.nets import linear

RANDOM = np.random.default_rng(0)
POINTS = RANDOM.normal(size=(90, 4)).astype(np.float32)
LABELS = np.argmax(POINTS[:, :3] + 0.3 * RANDOM.normal(size=(90, 3)), axis=1)
IMAGES = jnp.asarray(POINTS[:6].reshape(6, 2, 2, 1))


def classifier(weights, biases, **settings):
    model = linear.LinearClassifier((2, 2, 1), weights.shape[1], **settings)
    model.weights[...], model.biases[...] = jnp.asarray(weights), jnp.asarray(biases)
    return model


def test_probabilities_are_scikit_learns():
    fitted = linear.fit_logistic(POINTS, LABELS, 3, strength=0.7, max_iterations=200)
    theirs = LogisticRegression(C=0.7, max_iter=200).fit(POINTS, LABELS)
    ours = jax.nn.softmax(classifier(*fitted)(IMAGES))
    assert ours == pytest.approx(theirs.predict_proba(POINTS[:6]), abs=1e-4)


def test_with_labels_of_two_classes_no_other_class_is_predicted():
    labels = np.where(POINTS[:, 0] > 0, 4, 1)
    fitted = linear.fit_logistic(POINTS, labels, 6, strength=10.0, max_iterations=100)
    logits = np.asarray(classifier(*fitted)(jnp.asarray(POINTS.reshape(-1, 2, 2, 1))))
    assert np.mean(logits.argmax(axis=1) == labels) > 0.97
    theirs = LogisticRegression(C=10.0).fit(POINTS, labels).decision_function(POINTS)
    assert logits[:, 4] - logits[:, 1] == pytest.approx(theirs, abs=1e-2)
    assert not {0, 2, 3, 5} & set(logits.argmax(axis=1))


def test_one_class_alone_is_always_predicted():
    weights, biases = linear.fit_logistic(POINTS, np.full(90, 2), 4, strength=1.0, max_iterations=9)
    assert not weights.any()
    assert biases.argmax() == 2


def test_whitening_of_equal_inputs_gives_finite_weights():
    for inputs, labels in (POINTS[:1], [2]), (np.zeros((4, 3), np.float32), [0, 2, 0, 2]):
        weights, biases = linear.fit_logistic(
            inputs, np.array(labels), 4, strength=1.0, max_iterations=9, whiten=True
        )
        assert np.isfinite(weights).all() and biases.argmax() in labels


def test_whitening_fits_a_linear_model_of_strongly_correlated_inputs():
    alike = (POINTS[:, :1] * 100 + POINTS).astype(np.float32)
    alike -= alike.mean(axis=0)
    turned = linear.whitening_matrix(alike) * np.sqrt(89 / 90)
    assert np.cov((alike @ turned).T) == pytest.approx(np.eye(4), abs=1e-2)
    settings = {"strength": 100.0, "max_iterations": 30}
    weights, biases = linear.fit_logistic(alike, LABELS, 3, whiten=True, **settings)
    theirs = LogisticRegression(C=1e4, max_iter=1000).fit(POINTS, LABELS).predict(POINTS)
    assert np.mean((alike @ weights + biases).argmax(axis=1) == theirs) > 0.95


def test_features_are_distances_to_centres():
    model = classifier(np.eye(2, dtype=np.float32), np.zeros(2), num_centres=2)
    model.centres[...] = jnp.array([[0.0, 0.0, 0.0, 0.0], [3.0, 4.0, 0.0, 0.0]])
    model.mean[...] = jnp.array([1.0, 0.0])
    images = jnp.array([[0.0, 0.0, 0.0, 0.0], [3.0, 4.0, 0.0, 0.0]]).reshape(2, 2, 2, 1)
    # the distances are 0 and 5, and 5 and 0
    assert model(images) == pytest.approx(np.array([[-1.0, 5.0], [4.0, 0.0]]), abs=1e-5)


def test_an_ensemble_averages_probabilities_over_members_and_sides():
    weights = RANDOM.normal(size=(2, 4, 3)).astype(np.float32)
    members = [classifier(w, np.zeros(3)) for w in weights]
    sides = [IMAGES, IMAGES[:, :, ::-1]]
    expected = np.mean([jax.nn.softmax(m(side)) for m in members for side in sides], axis=0)
    both = linear.Ensemble(members, mirror=True)
    assert jnp.exp(both(IMAGES)) == pytest.approx(expected, abs=1e-6)
    assert both(IMAGES) == pytest.approx(np.asarray(both(sides[1])), abs=1e-5)
    alone = linear.Ensemble(members[:1])
    assert jnp.exp(alone(IMAGES)) == pytest.approx(
        np.asarray(jax.nn.softmax(members[0](IMAGES))), abs=1e-6
    )


@pytest.mark.parametrize("graph_mode", [True, False])
def test_models_are_values_in_both_flax_modes(graph_mode):
    with nnx.set_graph_mode(graph_mode):
        weights = RANDOM.normal(size=(2, 3)).astype(np.float32)
        member = classifier(weights, np.arange(3.0), num_centres=2)
        model = linear.Ensemble([member, member], mirror=True)
        jitted = jax.jit(lambda model, images: model(images))(model, IMAGES)
        assert jitted == pytest.approx(np.asarray(model(IMAGES)), abs=1e-5)
