import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from logs import TrainingMemory

from jaxlabel import nets, train
from jaxlabel.errors import Diverged
from jaxlabel.log import NullLog

POINTS = jax.random.normal(jax.random.key(0), (200, 3))
TARGETS = POINTS @ jnp.array([[1.0], [-2.0], [0.5]])


def squared_error(model, batch, key):
    points, targets = batch
    value = jnp.mean((model(points) - targets) ** 2)
    return value, {"error": jnp.sqrt(value)}


def fit(log, **changes):
    settings = {"name": "line", "optimizer": optax.adam(0.05), "num_steps": 230, "batch_size": 32}
    model = nets.Dense((3, 1), nnx.Rngs(1))
    data = (POINTS, TARGETS)
    return train.fit(squared_error, model, data, jax.random.key(2), log, **settings | changes)


class Killed(TrainingMemory):
    """A log that simulates a kill just after the checkpoint of step 100 is saved."""

    def save(self, name, step, tree):
        super().save(name, step, tree)
        if step == 100:
            raise KeyboardInterrupt


def test_fit_finds_the_line():
    model = fit(NullLog())
    np.testing.assert_allclose(model.layers[0].kernel[...].ravel(), [1.0, -2.0, 0.5], atol=0.02)


def test_log_gets_the_mean_of_each_call_and_the_last_checkpoint():
    log = TrainingMemory()
    fit(log)
    assert sorted(step for _, step in log.records) == [100, 200, 230]
    assert log.records["line", 230]["error"] < 0.05 < log.records["line", 100]["error"]
    assert log.checkpoints["line"][0] == 230


def test_a_killed_fit_continues_to_bitwise_equal_parameters():
    whole, log = TrainingMemory(), Killed()
    expected = fit(whole)
    with pytest.raises(KeyboardInterrupt):
        fit(log, seconds_between_saves=0.0)
    resumed = fit(log)
    for left, right in zip(jax.tree.leaves(resumed), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(left, right)
    assert log.records == whole.records


def test_the_length_of_a_call_does_not_change_the_result():
    one, other = fit(NullLog()), fit(NullLog(), steps_per_call=7)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(left, right)


def test_the_step_is_traced_once_however_many_calls():
    traces = []

    def counted(model, batch, key):
        traces.append(1)
        return squared_error(model, batch, key)

    model = nets.Dense((3, 1), nnx.Rngs(1))
    settings = {"name": "x", "optimizer": optax.sgd(0.1), "batch_size": 8, "num_steps": 35}
    data, key = (POINTS, TARGETS), jax.random.key(0)
    train.fit(counted, model, data, key, NullLog(), steps_per_call=35, **settings)
    once = len(traces)
    train.fit(counted, model, data, key, NullLog(), steps_per_call=3, **settings)
    assert len(traces) == 2 * once


def test_a_loss_that_is_not_finite_stops_the_run():
    def broken(model, batch, key):
        return jnp.sum(model(batch[0])) * jnp.nan, {}

    with pytest.raises(Diverged, match="line: the loss is nan at step 100"):
        train.fit(
            broken, nets.Dense((3, 1), nnx.Rngs(1)), (POINTS, TARGETS), jax.random.key(0),
            NullLog(), name="line", optimizer=optax.sgd(0.1), num_steps=200, batch_size=8,
        )  # fmt: skip


@pytest.mark.parametrize("num_images", [0, 1, 5, 6, 7])
def test_apply_batched_equals_the_function(num_images):
    images = np.random.default_rng(0).integers(0, 256, (num_images, 2, 2, 1), np.uint8)
    model = jnp.array(3.0)
    outputs = train.apply_batched(lambda m, x: m * x.sum(axis=(1, 2, 3)), model, images, 3)
    np.testing.assert_allclose(outputs, 3 * images.sum(axis=(1, 2, 3)) / 255, rtol=1e-6)


def test_batches_of_large_images_are_smaller():
    shapes = []

    def corners(model, images):
        shapes.append(images.shape)
        return images[:, 0, 0, 0]

    images = np.zeros((60, 224, 224, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(60)
    found = train.apply_batched(corners, None, images)
    np.testing.assert_allclose(255 * found, np.arange(60), rtol=1e-6)
    assert shapes == [(55, 224, 224, 3)]
    sizes = [(28, 28, 1), (32, 32, 3), (64, 64, 1), (64, 64, 3), (2000, 1500, 3)]
    assert [train.default_batch_size(s) for s in sizes] == [2048, 2048, 2048, 682, 16]


def test_apply_batched_compiles_once_for_models_of_one_structure():
    traces = []

    def scaled(model, images):
        traces.append(1)
        return model * images.sum(axis=(1, 2, 3))

    images = np.full((4, 2, 2, 1), 255, np.uint8)
    for scale in (1.0, 2.0):
        found = train.apply_batched(scaled, jnp.array(scale), images, 3)
        np.testing.assert_allclose(found, 4 * scale)
    assert len(traces) == 1
    train.apply_batched(lambda model, x: scaled(model["a"], x), {"a": jnp.array(3.0)}, images, 3)
    assert len(traces) == 2
    assert train._compiled.cache_info().maxsize is not None


def test_warmup_cosine_rises_and_falls():
    weights = jnp.array([1.0])
    optimizer = train.warmup_cosine(0.1, 100)
    state, moves = optimizer.init(weights), []
    for _ in range(100):
        updates, state = optimizer.update(jnp.array([1.0]), state, weights)
        moves.append(-float(updates[0]))
    assert moves[0] == 0.0
    np.testing.assert_allclose(max(moves), 0.1, rtol=1e-3)
    assert np.argmax(moves) == 5 and moves[-1] < 1e-4
