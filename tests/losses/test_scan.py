import jax
import jax.numpy as jnp
import numpy as np

from jaxlabel.losses.scan import consistency, prior_divergence, scan_loss, self_label

LOGITS, OTHERS = 2 * jax.random.normal(jax.random.key(0), (2, 6, 4))


def test_consistency_is_minus_the_log_of_the_dot_product():
    p, q = jax.nn.softmax(LOGITS), jax.nn.softmax(OTHERS)
    expected = -np.log(np.sum(np.asarray(p) * np.asarray(q), axis=1))
    np.testing.assert_allclose(consistency(LOGITS, OTHERS), expected, rtol=1e-5)
    sure = jnp.array([[500.0, 0.0]])
    np.testing.assert_allclose(consistency(sure, sure), 0.0, atol=1e-6)
    np.testing.assert_allclose(consistency(sure, -sure + 500), 500.0 - np.log(2), rtol=1e-5)


def test_the_divergence_is_the_entropy_of_the_mean_assignment_but_for_a_constant():
    mean = np.asarray(jax.nn.softmax(LOGITS)).mean(axis=0)
    entropy = -np.sum(mean * np.log(mean))
    np.testing.assert_allclose(prior_divergence(LOGITS), np.log(4) - entropy, rtol=1e-4)
    np.testing.assert_allclose(prior_divergence(LOGITS, jnp.asarray(mean)), 0.0, atol=1e-6)
    one = jnp.tile(jnp.array([100.0, 0, 0, 0]), (6, 1))
    np.testing.assert_allclose(prior_divergence(one), np.log(4), rtol=1e-5)


def test_the_loss_is_equation_2():
    p, q = np.asarray(jax.nn.softmax(LOGITS)), np.asarray(jax.nn.softmax(OTHERS))
    mean = p.mean(axis=0)
    equation = -np.mean(np.log(np.sum(p * q, axis=1))) + 5 * np.sum(mean * np.log(mean))
    found = scan_loss(LOGITS, OTHERS, entropy_weight=5.0).mean()
    np.testing.assert_allclose(found, equation + 5 * np.log(4), rtol=1e-5)


def test_confident_images_are_pseudo_labels_with_equal_weight_per_cluster():
    teacher = jnp.array([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [0.1, 0.0]])
    student = jnp.array([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0], [5.0, 0.0]])
    losses, confident = self_label(teacher, student, 0.9)
    np.testing.assert_array_equal(confident, [True, True, True, False])
    entropies = np.log1p(np.exp([-1.0, 0.0, -2.0]))
    expected = ((entropies[0] + entropies[1]) / 2 + entropies[2]) / 2
    np.testing.assert_allclose(losses.mean(), expected, rtol=1e-5)
    assert losses[3] == 0


def test_without_confident_images_loss_and_gradient_are_zero():
    def loss(logits):
        return self_label(logits, logits, 0.99)[0].mean()

    value, gradient = jax.value_and_grad(loss)(jnp.zeros((5, 3)))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0.0)
    gradient = jax.grad(lambda t: self_label(t, LOGITS, 0.2)[0].mean())(LOGITS)
    np.testing.assert_array_equal(gradient, 0.0)  # no gradient reaches the teacher
