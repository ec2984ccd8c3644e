import jax
import jax.numpy as jnp
import numpy as np

from jaxlabel.scan.heads import draw_neighbours


def test_each_neighbour_of_an_image_is_drawn_equally_often():
    neighbours = jnp.array([[1, 2], [2, 0], [0, 1]])
    rows = jnp.tile(jnp.arange(3), 400)
    drawn = np.asarray(draw_neighbours(jax.random.key(0), neighbours, rows))
    assert np.all(drawn != np.asarray(rows)) and 0.4 < np.mean(drawn == neighbours[rows, 0]) < 0.6
