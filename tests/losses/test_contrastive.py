import jax
import jax.numpy as jnp
import numpy as np

from jaxlabel.losses.contrastive import nt_xent

FIRST, SECOND = jax.random.normal(jax.random.key(0), (2, 5, 3))


def brute_force(first, second, temperature):
    """Compute the loss of Chen et al. 2020, eq. 1, term by term."""
    rows = np.concatenate([first, second]).astype(np.float64)
    num = len(first)

    def similarity(i, j):
        return rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j])

    def loss(i, j):
        others = [np.exp(similarity(i, k) / temperature) for k in range(2 * num) if k != i]
        return -np.log(np.exp(similarity(i, j) / temperature) / sum(others))

    return [(loss(i, i + num) + loss(i + num, i)) / 2 for i in range(num)]


def test_nt_xent_is_the_papers_equation():
    for temperature in (0.1, 0.5, 2.0):
        found = nt_xent(FIRST, SECOND, temperature)
        np.testing.assert_allclose(found, brute_force(FIRST, SECOND, temperature), rtol=1e-5)


def test_a_single_pair_has_no_negatives_and_no_loss():
    np.testing.assert_allclose(nt_xent(FIRST[:1], SECOND[:1], 0.5), 0.0, atol=1e-6)


def test_further_views_of_a_pairs_images_are_not_its_negatives():
    shown = np.array([[3, 1, 3, 2, 0], [3, 2, 4, 2, 0]])  # the second and third have a partner
    rows = np.concatenate([FIRST, SECOND]).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    images, expected = shown.ravel(), []
    for i in range(5):
        both = []
        for row, positive in ((i, i + 5), (i + 5, i)):
            kept = [k for k in range(10) if images[k] not in (images[row], images[positive])]
            scores = [np.exp(rows[row] @ rows[k] / 0.5) for k in (*kept, positive)]
            both.append(-np.log(scores[-1] / sum(scores)))
        expected.append(np.mean(both))
    np.testing.assert_allclose(nt_xent(FIRST, SECOND, 0.5, jnp.asarray(shown)), expected, rtol=1e-5)
    each_once = jnp.tile(jnp.arange(5), (2, 1))
    np.testing.assert_allclose(
        nt_xent(FIRST, SECOND, 0.5, each_once), nt_xent(FIRST, SECOND, 0.5), rtol=1e-6
    )
    alike = jnp.zeros((2, 5), int)
    np.testing.assert_allclose(nt_xent(FIRST, SECOND, 0.5, alike), 0.0, atol=1e-6)


def test_lengths_and_the_order_of_views_do_not_matter():
    lengths = jnp.arange(1.0, 6.0)[:, None]
    one, other = nt_xent(FIRST, SECOND, 0.5), nt_xent(SECOND * lengths, FIRST, 0.5)
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_gradient_is_finite_even_for_a_row_of_zeros():
    gradient = jax.grad(lambda x: nt_xent(x, SECOND, 0.5).sum())(FIRST.at[0].set(0.0))
    assert np.isfinite(gradient).all()
