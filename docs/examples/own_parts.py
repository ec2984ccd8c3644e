"""Parts of your own, without a fork: a query strategy, an objective, a network, an augmentation.

    jaxlabel train --config=configs/semisup.py --config.query=own_parts:evenly_spread \
        --config.objective=own_parts:entropy --config.network=own_parts:TwoLayers \
        --config.kind=own_parts:upside_down
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxlabel import augment, losses
from jaxlabel.semisupervised.batches import Outcome


# A query strategy returns `count` indices of `features` (n, d), none of them in `asked`. With a
# further argument `probabilities` (n, classes) it is asked after a model was trained.
def evenly_spread(key, features, count, asked):
    order = np.argsort(features[:, 0])  # along the first principal component
    order = order[~np.isin(order, asked)]
    return order[np.linspace(0, len(order) - 1, count).astype(int)]


# An objective returns losses in nats: of a batch's labelled images (b,), and of the others (u,).
def entropy(settings, views, student, teacher, batch, memory, key):
    logits = student(views.weak(key, jnp.concatenate([batch.images, batch.unlabelled])))
    labelled, others = jnp.split(logits, [len(batch.labels)])
    unsure = -jnp.sum(jax.nn.softmax(others) * jax.nn.log_softmax(others), axis=-1)
    return Outcome(losses.cross_entropy(labelled, batch.labels), unsure, memory, {})


# A network has `num_features` and turns float32 images (batch, h, w, c) in [0, 1] into features.
class TwoLayers(nnx.Module):
    def __init__(self, shape, rngs, width):
        self.num_features = 4 * width
        self.first = nnx.Linear(int(np.prod(shape)), 8 * width, rngs=rngs)
        self.second = nnx.Linear(8 * width, self.num_features, rngs=rngs)

    def features(self, images):
        hidden = jax.nn.relu(self.first(images.reshape(len(images), -1)))
        return jax.nn.relu(self.second(hidden))


# An augmentation kind returns the transform of a view: "weak", "strong" or "contrastive".
def upside_down(view):
    def transform(key, images):
        flipped = jax.random.bernoulli(key, 0.5, (len(images), 1, 1, 1))
        images = jnp.where(flipped, images[:, ::-1], images)
        return images if view == "weak" else augment.erase(key, images, 0.4)

    return transform
