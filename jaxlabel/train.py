"""The training loop of all methods: many steps per compiled call, and exact resumption."""

import contextlib
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel.augment import as_float
from jaxlabel.errors import Diverged
from jaxlabel.log import Log
from jaxlabel.nets import devices, streaming

NOTHING_READ = itertools.repeat(())  # what is read from the host for each step, in most trainings
Model = TypeVar("Model")
Metrics = Mapping[str, Float[Array, ""]]
Loss = Callable[[Any, Any, Key[Array, ""]], tuple[Float[Array, ""], Metrics]]
Carry = TypeVar("Carry")
Step = Callable[[Carry, Any, Key[Array, ""]], tuple[Carry, Metrics]]


class State(NamedTuple):
    """The training state of `fit`: the model and the state of its optax optimizer."""

    model: Any
    optimizer: Any


def fit(
    loss: Loss,
    model: Model,
    data: Any,
    key: Key[Array, ""],
    log: Log,
    *,
    name: str,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    batch_size: int,
    steps_per_call: int = 100,
    seconds_between_saves: float = 10.0,
) -> Model:
    """Train a model for `num_steps` optimizer steps on random mini-batches, and return it.

    Mini-batches are drawn with replacement on the device. Training resumes from the checkpoint
    `name` in the run's `log`, if there is one. The result is then bit for bit that of an
    uninterrupted training, because the random numbers of step i depend only on `fold_in(key, i)`.

    Args:
      loss: a function of (model, batch, key) that returns the mean loss and a dict of metrics to
        log.
      data: a pytree of arrays; the first axis of each array counts the examples.
      steps_per_call: metrics are averaged over this many steps, and then logged.

    Raises:
      Diverged: the loss or a metric is NaN or infinite.
    """

    def step(state: State, data: Any, key: Key[Array, ""]) -> tuple[State, Metrics]:
        index_key, loss_key = jax.random.split(key)
        batch = draw(index_key, data, batch_size)
        (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.model, batch, loss_key
        )
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.model)
        model = optax.apply_updates(state.model, updates)
        return State(model, optimizer_state), {"loss": value, **metrics}

    state = State(model, jax.jit(optimizer.init)(model))
    return loop(
        step, state, data, key, log, name=name, num_steps=num_steps,
        steps_per_call=steps_per_call, seconds_between_saves=seconds_between_saves,
    ).model  # fmt: skip


def loop(
    step: Step[Any],
    state: Any,
    data: Any,
    key: Key[Array, ""],
    log: Log,
    *,
    name: str,
    num_steps: int,
    first_step: int = 0,
    steps_per_call: int = 100,
    seconds_between_saves: float = 10.0,
) -> Any:
    """Run training steps until `num_steps` steps are done, and return the final training state.

    Use it in place of `fit` if a step is more than one optimizer update of a loss. Training resumes
    from the checkpoint `name` in the run's `log`, if there is one. With several devices, each holds
    all data and the whole state, and computes its part of the arrays that `step` passes to
    `devices.shard`.

    Args:
      step: a function of (state, data, key) that returns the next state and a dict of metrics to
        log. It is compiled once.
      state: the initial training state, a pytree of arrays.
      data: a pytree of arrays with the whole data set, from which `step` takes its mini-batch.
        Images that do not fit the device stay on the host (`jaxlabel.nets.streaming`).
      first_step: the number of steps that earlier calls have done; `num_steps` includes them.

    Raises:
      Diverged: a metric is NaN or infinite.
    """
    done, last = first_step, num_steps
    if (restored := log.restore(name, state)) is not None:
        done, state = restored
    data, large = streaming.take_out(data)
    state, data, key = devices.replicate((state, data, key))
    batches = [streaming.read_batches(step, state, data, key, large, done, last)] if large else []
    advance = _advance(step, devices.mesh(), is_streaming=bool(large))
    saved = time.monotonic()
    try:
        while done < last:
            until = min((done // steps_per_call + 1) * steps_per_call, last)
            state, sums = advance(state, data, key, done, until, *batches)
            metrics = {k: float(v) / (until - done) for k, v in jax.device_get(sums).items()}
            streaming.check_rows(metrics)
            for metric, value in metrics.items():
                if not np.isfinite(value):
                    raise Diverged(
                        f"{name}: the {metric} is {value} at step {until}: take a lower learning "
                        "rate"
                    )
            done = until
            log.scalars(name, done, metrics)
            metric = "loss" if "loss" in metrics else next(iter(metrics))
            log.progress(name, done, last, f"{metric} {metrics[metric]:.4g}")
            if done == last or time.monotonic() - saved > seconds_between_saves:
                log.save(name, done, state)
                saved = time.monotonic()
    finally:
        for reading in batches:
            reading.close()
    return devices.first_copy(state)


def stack(trees: Sequence[Carry]) -> Carry:
    """Join pytrees of equal structure into one: stack their arrays on a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def member(joined: Carry, number: int) -> Carry:
    """Undo `stack` for one of the joined pytrees: return the one with the index `number`."""
    return jax.tree.map(lambda leaf: leaf[number], joined)


def draw(key: Key[Array, ""], data: Any, batch_size: int) -> Any:
    """Return a random mini-batch: the same `batch_size` rows of each array in the pytree `data`.

    The rows are drawn with replacement. They are divided over the devices.
    """
    arrays, structure = jax.tree.flatten(data, is_leaf=streaming.is_on_host)
    rows = jax.random.randint(key, (batch_size,), 0, len(arrays[0]))
    return jax.tree.unflatten(structure, [devices.shard(array[rows]) for array in arrays])


def moving_average(average: Model, model: Model, decay: float | Float[Array, ""]) -> Model:
    """Return each parameter's updated moving average: decay * average + (1 - decay) * model."""
    return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, average, model)


def init(make: Callable[[nnx.Rngs], Model], key: Key[Array, ""]) -> Model:
    """Return the network that the function `make` builds, with random weights from the key `key`.

    `make` gets a Flax `nnx.Rngs`. The whole call of `make` is compiled at once. Without this, JAX
    would compile the initialisation of each weight separately, which is 20 times slower on a CPU.
    """
    return jax.jit(lambda key: make(nnx.Rngs(key)))(key)


@functools.lru_cache(maxsize=4)
def _advance(
    step: Step[Any], mesh: Mesh, *, is_streaming: bool = False
) -> Callable[..., tuple[Any, dict[str, Array]]]:
    """Return a compiled function that runs the training step `step` several times in one call.

    The returned function returns the new training state and the sum of each metric over the steps.
    It is compiled once for any number of steps, and kept for further calls with the same `step` and
    the same devices. If images stay on the host (`is_streaming`), its last argument is the iterator
    that `streaming.read_batches` returns.
    """
    fed = streaming.feed(step)

    def zeros(state: Any, data: Any, key: Key[Array, ""], given: Any) -> dict[str, Any]:
        shapes = jax.eval_shape(fed, state, data, key, given)[1]
        return {name: np.zeros(s.shape, s.dtype) for name, s in shapes.items()}

    def body(
        number: Int[Array, ""], carry: tuple[Any, dict[str, Array]], data: Any, key: Key[Array, ""],
        given: Any,
    ) -> tuple[Any, dict[str, Array]]:  # fmt: skip
        state, metrics = fed(carry[0], data, jax.random.fold_in(key, number), given)
        return state, jax.tree.map(jnp.add, carry[1], metrics)

    def scanned(
        state: Any, data: Any, key: Key[Array, ""], first: Int[Array, ""], last: Int[Array, ""]
    ) -> tuple[Any, dict[str, Array]]:
        start = (state, zeros(state, data, key, ()))
        return jax.lax.fori_loop(first, last, lambda i, c: body(i, c, data, key, ()), start)

    compiled = functools.partial(
        devices.compile_replicated, compiler_options=devices.compiler_options()
    )
    single = compiled(body)

    def stepwise(
        state: Any, data: Any, key: Key[Array, ""], first: int, last: int,
        batches: Iterable[Any] = NOTHING_READ,
    ) -> tuple[Any, dict[str, Array]]:  # fmt: skip
        sums: dict[str, Any] = {}
        for number, given in zip(range(first, last), batches, strict=False):
            sums = sums or devices.replicate(zeros(state, data, key, given))
            state, sums = single(number, (state, sums), data, key, given)
            if devices.count() > 1:  # the devices of a CPU wait for each other's sums for ever
                jax.block_until_ready(sums)  # if several steps are under way
        return state, sums

    # In a loop, XLA's CPU backend computes a convolution's gradient on one thread with slow code:
    # 24 times slower (jax 0.10.2). Dispatching each step separately costs only 1 ms.
    return compiled(scanned) if devices.is_accelerator() and not is_streaming else stepwise


def warmup_cosine(learning_rate: float, num_steps: int, weight_decay: float = 0.0) -> Any:
    """Return the optimizer AdamW with linear warm-up and cosine decay of the learning rate.

    The peak, `learning_rate`, is reached after 5% of the steps (Loshchilov & Hutter 2017 and 2019).
    """
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, warmup_steps=max(1, num_steps // 20), decay_steps=max(2, num_steps)
    )
    return optax.adamw(schedule, weight_decay=weight_decay)


def apply_batched(
    function: Callable[[Any, Float[Array, "batch h w c"]], Array],
    model: Any,
    images: UInt8[np.ndarray, "n h w c"],
    batch_size: int | None = None,
) -> np.ndarray:
    """Call `function(model, images)` on batches of the images and return all outputs as one array.

    Each batch is divided over the devices. Threads read the next batches ahead, so the images may
    be a memory-mapped file that fits neither the device nor the memory.

    Args:
      function: a function of a model and float32 images in [0, 1]. Define it at module level, as
        `features_of` is: a function created for each call would be compiled each time.
      batch_size: the number of images per compiled call; the last batch is padded to it. None: the
        number that `default_batch_size` returns.
    """
    compiled = _compiled(function, jax.tree.structure(model), devices.mesh())
    model = devices.replicate(model)
    batch_size = max(1, min(batch_size or default_batch_size(images.shape[1:]), len(images)))
    starts = range(0, max(1, len(images)), batch_size)

    def read(start: int) -> UInt8[np.ndarray, "batch h w c"]:
        batch = images[start : start + batch_size]
        return np.pad(batch, ((0, batch_size - len(batch)), *((0, 0),) * (images.ndim - 1)))

    outputs = np.zeros(0)  # replaced by an array for all images as soon as their size is known
    with contextlib.closing(streaming.read_ahead(read, starts)) as batches:
        for start, batch in zip(starts, batches, strict=True):
            computed = np.asarray(compiled(model, batch))[: len(images) - start]
            if start == 0:
                outputs = np.empty((len(images), *computed.shape[1:]), computed.dtype)
            outputs[start : start + len(computed)] = computed
    return outputs


def default_batch_size(shape: tuple[int, ...]) -> int:
    """Return the number of images in a batch of `apply_batched`: 2,048, or fewer large ones.

    From 4,096 values per image on (height x width x channels), a batch has as many values as 2,048
    images of 4,096, so that the memory does not grow with the size of the images; but it has at
    least 16 images.

    Args:
      shape: height, width, and channels of an image.
    """
    return min(2048, max(16, 2048 * 4096 // math.prod(shape)))


def outputs_of(model: Any, images: Float[Array, "batch h w c"]) -> Array:
    """Return `model(images)`; a function to pass to `apply_batched`."""
    return model(images)


def features_of(model: Any, images: Float[Array, "batch h w c"]) -> Array:
    """Return `model.features(images)`; a function to pass to `apply_batched`."""
    return model.features(images)


# The cache is bounded because a dropped entry frees its compiled code: a sweep over many model
# structures would otherwise fill the memory.
@functools.lru_cache(maxsize=16)
def _compiled(
    function: Callable[[Any, Float[Array, "batch h w c"]], Array], structure: Any, mesh: Mesh
) -> Callable[..., Array]:
    return devices.compile_replicated(
        lambda model, batch: function(model, devices.shard(as_float(batch)))
    )
