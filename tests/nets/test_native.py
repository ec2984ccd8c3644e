"""The CPU kernels compute what XLA computes: values, gradients, batches, threads."""

import concurrent.futures
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlabel import losses, nets, train
from jaxlabel.log import NullLog
from jaxlabel.nets import native
from jaxlabel.nets.native import building, reference, selection

TYPES = ("float32", "bfloat16")
LIMITS = {"float32": 1e-5, "bfloat16": 1e-2}


@pytest.fixture(autouse=True, scope="module")
def kernels():
    """Use the kernels in this file's tests; skip them where they cannot be compiled."""
    try:
        isa = building.load().jaxlabel_effective_isa()
    except building.Unavailable as error:
        pytest.skip(str(error))
    yield native.select("bfloat16" if selection.has_bfloat16(isa) else "onednn")
    native.select("auto")


def needs(dtype: str) -> None:
    if dtype not in ("float32", native.selected().dtype):
        pytest.skip(f"this processor computes in {native.selected().dtype}")


def draw(seed: int, *shape: int, dtype: Any = "float32") -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def distance(found: jax.Array, wanted: jax.Array) -> float:
    """The norm of the difference over the norm of what is wanted."""
    found, wanted = (np.asarray(a, np.float64).ravel() for a in (found, wanted))
    return float(np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), 1e-9))


def close(found: Any, wanted: Any, limit: float) -> None:
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert one.shape == other.shape
        assert one.size == 0 or distance(one, other) < limit


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_convolutions_of_all_sides(dtype, stride):
    """Sides 1 to 33: the value and both gradients, against their definition in float64."""
    needs(dtype)
    cases = []
    for side in range(1, 34):
        width, reach = 34 - side, (3, 1)[side % 2]
        output = [-(-each // stride) for each in (side, width)]
        images, gradient = draw(side, 2, side, width, 3), draw(side + 2, 2, *output, 5)
        kernel = draw(side + 1, reach, reach, 3, 5)
        cases.append((images.astype(dtype), kernel, gradient.astype(dtype)))

    @jax.jit
    def of_all(cases: Any) -> Any:
        found = []
        for images, kernel, gradient in cases:
            value, backward = jax.vjp(lambda x, w: native.conv(x, w, stride=stride), images, kernel)
            found.append((value, *backward(gradient)))
        return found

    for (images, kernel, gradient), found in zip(cases, of_all(cases), strict=True):
        assert [each.dtype for each in found] == [dtype, dtype, "float32"]
        rounded = kernel.astype(dtype).astype(jnp.float32)
        wanted = by_numpy(images.astype("float32"), rounded, gradient.astype("float32"), stride)
        close(found, wanted, LIMITS[dtype])


def by_numpy(images: Any, kernel: Any, gradient: Any, stride: int) -> tuple[np.ndarray, ...]:
    """A convolution and its two gradients from the definition, in float64."""
    images, kernel, gradient = (np.asarray(a, np.float64) for a in (images, kernel, gradient))
    reach = len(kernel)
    pads = [(0, 0)]
    for side, output in zip(images.shape[1:3], gradient.shape[1:3], strict=True):
        total = max(0, (output - 1) * stride + reach - side)
        pads.append((total // 2, total - total // 2 + stride))
    padded = np.pad(images, (*pads, (0, 0)))
    value, of_images, of_kernel = np.zeros_like(gradient), np.zeros_like(padded), kernel * 0
    rows, columns = (np.arange(side) * stride for side in gradient.shape[1:3])
    for i, j in itertools.product(range(reach), repeat=2):
        place = np.ix_(range(len(images)), rows + i, columns + j)
        value += padded[place] @ kernel[i, j]
        of_images[place] += gradient @ kernel[i, j].T
        of_kernel[i, j] = np.einsum("nhwi,nhwo->io", padded[place], gradient)
    top, left = pads[1][0], pads[2][0]
    inside = of_images[:, top : top + images.shape[1], left : left + images.shape[2]]
    return value, inside, of_kernel


@pytest.mark.parametrize("dtype", TYPES)
def test_the_shapes_of_the_networks(dtype):
    """Batches that are cut into parts, and channels that are not multiples of anything."""
    needs(dtype)
    for n, side, channels, features in ((67, 14, 4, 32), (130, 7, 32, 64), (33, 15, 12, 7)):
        images, kernel = draw(0, n, side, side, channels), draw(1, 3, 3, channels, features)
        images = images.astype(dtype)
        gradient = draw(2, n, side, side, features, dtype=dtype)
        exact = [a.astype(jnp.float32) for a in (images, kernel.astype(dtype), gradient)]
        found, backward = jax.vjp(native.conv, images, kernel)
        wanted, check = jax.vjp(lambda x, w: reference.convolution(x, w, 1), *exact[:2])
        close((found, *backward(gradient)), (wanted, *check(exact[2])), LIMITS[dtype])


def test_an_empty_batch():
    images, kernel = draw(0, 0, 5, 5, 3), draw(1, 3, 3, 3, 4)
    value, backward = jax.vjp(lambda x, w: native.conv(x, w, stride=2), images, kernel)
    assert value.shape == (0, 3, 3, 4)
    of_images, of_kernel = backward(value)
    assert of_images.shape == images.shape and not of_kernel.any()
    scale = jnp.ones(3)
    normed = jax.grad(lambda x, s: native.norm_activation(x, s, s, num_groups=1).sum(), (0, 1))
    assert not normed(images, scale)[1].any()


def penalty(function: Any, order: int) -> Any:
    """A scalar that holds derivatives of `function` up to the order."""
    if order == 0:
        return lambda *arrays: jnp.sum(jnp.sin(function(*arrays)))
    inner = jax.grad(penalty(function, order - 1), (0, 1))
    return lambda *arrays: sum(jnp.sum(a**2) for a in inner(*arrays))


def test_derivatives_of_higher_orders():
    images, kernel = draw(0, 3, 5, 6, 2), 0.3 * draw(1, 3, 3, 2, 4)
    own = jax.grad(penalty(lambda x, w: native.conv(x, w, stride=2), 2), (0, 1))
    wanted = jax.grad(penalty(lambda x, w: reference.convolution(x, w, 2), 2), (0, 1))
    close(jax.jit(own)(images, kernel), jax.jit(wanted)(images, kernel), 1e-4)
    images, scale, bias = draw(2, 3, 4, 5, 6), draw(3, 6), draw(4, 6)

    def norm(*arrays: jax.Array) -> jax.Array:
        return native.norm_activation(*arrays, num_groups=2, negative_slope=0.1)

    def by_xla(*arrays: jax.Array) -> jax.Array:
        return reference.norm_activation(*arrays, 2, 1e-5, 0.1)

    own, wanted = (jax.grad(penalty(f, 1), (0, 1, 2)) for f in (norm, by_xla))
    close(jax.jit(own)(images, scale, bias), jax.jit(wanted)(images, scale, bias), 1e-4)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_vmap_is_a_loop(axes):
    """A mapped batch is folded into the images; mapped weights are taken one by one."""
    images, kernel = draw(0, 3, 4, 5, 6, 2), draw(1, 3, 3, 3, 2, 4)
    chosen = [a if axis == 0 else a[0] for a, axis in zip((images, kernel), axes, strict=True)]
    function = jax.grad(penalty(lambda x, w: native.conv(x, w, stride=2), 0), (0, 1))
    one_by_one = [
        function(*(a[i] if axis == 0 else a for a, axis in zip(chosen, axes, strict=True)))
        for i in range(3)
    ]
    close(jax.jit(jax.vmap(function, axes))(*chosen), train.stack(one_by_one), 1e-6)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("slope", [0.0, 0.1, 1.0])
def test_the_norm_and_its_gradients(dtype, slope):
    needs(dtype)
    images, scale, bias = draw(0, 5, 7, 3, 12, dtype=dtype), draw(1, 12), draw(2, 12)
    gradient = draw(3, *images.shape, dtype=dtype)
    exact = images.astype(jnp.float32)
    found, backward = jax.vjp(
        lambda *a: native.norm_activation(*a, num_groups=4, negative_slope=slope),
        images, scale, bias,
    )  # fmt: skip
    wanted, check = jax.vjp(
        lambda *a: reference.norm_activation(*a, 4, 1e-5, slope), exact, scale, bias
    )
    assert found.dtype == images.dtype
    checked = (wanted, *check(gradient.astype(jnp.float32)))
    close((found, *backward(gradient)), checked, LIMITS[dtype])


@pytest.mark.parametrize("axes", [(0, None, None), (0, 0, None), (None, 0, None)])
def test_vmap_of_the_norm(axes):
    arrays = draw(0, 3, 2, 4, 5, 6), draw(1, 3, 6), draw(2, 3, 6)
    function = jax.grad(penalty(lambda *a: native.norm_activation(*a, num_groups=2), 0), (0, 1))
    chosen = [a if axis == 0 else a[0] for a, axis in zip(arrays, axes, strict=True)]
    one_by_one = [
        function(*(a[i] if axis == 0 else a for a, axis in zip(chosen, axes, strict=True)))
        for i in range(3)
    ]
    close(jax.jit(jax.vmap(function, axes))(*chosen), train.stack(one_by_one), 1e-6)


def test_many_calls_from_many_threads_have_the_same_bits():
    """400 calls from 16 threads at once, each of several parts, on XLA's two threads or more."""
    images, kernel = draw(0, 90, 14, 14, 16), draw(1, 3, 3, 16, 32)
    function = jax.jit(jax.value_and_grad(penalty(native.conv, 0), (0, 1)))
    wanted = [np.asarray(a).tobytes() for a in jax.tree.leaves(function(images, kernel))]

    def call(_: int) -> bool:
        found = jax.tree.leaves(function(images, kernel))
        return [np.asarray(a).tobytes() for a in found] == wanted

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        assert all(threads.map(call, range(400)))


OPTIMIZER = train.warmup_cosine(1e-3, 10)


def step(state: Any, data: Any, key: Any) -> Any:
    """A training step of a small network; `train.loop` compiles it once for all its calls."""
    images, labels = train.draw(key, data, 32)
    loss, gradient = jax.value_and_grad(
        lambda model: losses.cross_entropy(model(images), labels).mean()
    )(state.model)
    updates, optimizer = OPTIMIZER.update(gradient, state.optimizer, state.model)
    return train.State(optax.apply_updates(state.model, updates), optimizer), {"loss": loss}


def test_a_hundred_trainings_have_the_same_bits():
    images = np.random.default_rng(0).uniform(size=(64, 8, 8, 1)).astype(np.float32)
    model = train.init(
        lambda rngs: nets.Classifier(nets.ConvNet((8, 8, 1), rngs, width=4), 3, rngs),
        jax.random.key(0),
    )
    state = train.State(model, OPTIMIZER.init(model))

    def trained() -> bytes:
        data = images, np.arange(64) % 3
        found = train.loop(step, state, data, jax.random.key(1), NullLog(), name="fit", num_steps=5)
        return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(found))

    assert len({trained() for _ in range(100)}) == 1
