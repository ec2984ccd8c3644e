import jax
import jax.numpy as jnp
import numpy as np

from jaxlabel import train
from jaxlabel.losses.scan import scan_loss
from jaxlabel.scan import heads
from jaxlabel.scan.heads import draw_neighbours


def test_each_neighbour_of_an_image_is_drawn_equally_often():
    neighbours = jnp.array([[1, 2], [2, 0], [0, 1]])
    rows = jnp.tile(jnp.arange(3), 400)
    drawn = np.asarray(draw_neighbours(jax.random.key(0), neighbours, rows))
    assert np.all(drawn != np.asarray(rows)) and 0.4 < np.mean(drawn == neighbours[rows, 0]) < 0.6


def test_the_best_head_is_found_in_little_memory(monkeypatch):
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (600, 2, 40)).astype(np.float32)  # not a multiple of a block
    neighbours = random.integers(600, size=(600, 3))
    prior = random.dirichlet(np.ones(40)).astype(np.float32)
    monkeypatch.setattr(train, "apply_batched", lambda *parts: logits)
    best, losses = heads.best_head(None, None, neighbours, entropy_weight=2.0, prior=prior)
    for head in range(2):
        one = logits[:, head]
        pairs = [scan_loss(one, one[c], entropy_weight=2.0, prior=prior) for c in neighbours.T]
        np.testing.assert_allclose(losses[head], np.mean(pairs), rtol=1e-5)
    assert best == np.argmin(losses)
    given = jax.ShapeDtypeStruct((20_000, 40), jnp.float32)
    near = jax.ShapeDtypeStruct((20_000, 10), jnp.int32)
    memory = heads._mean_loss.lower(given, near, 2.0, None).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 2 * given.size * 4
