"""One training loop for every recipe: many steps in one compiled call, resumable to the bit."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel.augment import as_float
from jaxlabel.errors import Diverged
from jaxlabel.log import Log

Model = TypeVar("Model")
Metrics = Mapping[str, Float[Array, ""]]
Loss = Callable[[Any, Any, Key[Array, ""]], tuple[Float[Array, ""], Metrics]]
Carry = TypeVar("Carry")
Step = Callable[[Carry, Any, Key[Array, ""]], tuple[Carry, Metrics]]


class State(NamedTuple):
    """What the checkpoint of `fit` holds: all that the next step depends on but data and key."""

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
    """The model after `num_steps` optimizer steps on random batches of `data`.

    Batches are drawn with replacement on the device. Step i depends on `fold_in(key, i)` alone, so
    that a killed run, restored from `log`'s checkpoint `name`, ends in the same bits.

    Args:
      loss: (model, batch, key) to the mean loss over the batch and metrics to log.
      data: a pytree of arrays with the same first axis.
      steps_per_call: steps inside one compiled call, between two records in the log.
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

    state = State(model, optimizer.init(model))
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
    """The state after `num_steps` steps: the loop under `fit`, for a recipe with its own step.

    Args:
      step: (state, data, key) to the next state and metrics to log; it is compiled here, once.
      state: a pytree of arrays; all that a step depends on but data and key.
      data: a pytree of arrays, whole; the step draws its batch from it.
      first_step: the steps that `state` has behind it, where a recipe looks up in between.

    Raises:
      Diverged: a metric is not finite.
    """
    done, last = first_step, num_steps
    if (restored := log.restore(name, state)) is not None:
        done, state = restored
    data = jax.tree.map(jnp.asarray, data)
    advance = _advance(step)
    saved = time.monotonic()
    while done < last:
        until = min((done // steps_per_call + 1) * steps_per_call, last)
        state, sums = advance(state, data, key, done, until)
        metrics = {k: float(v) / (until - done) for k, v in jax.device_get(sums).items()}
        for metric, value in metrics.items():
            if not np.isfinite(value):
                raise Diverged(
                    f"{name}: the {metric} is {value} at step {until}: take a lower learning rate"
                )
        done = until
        log.scalars(name, done, metrics)
        metric = "loss" if "loss" in metrics else next(iter(metrics))
        log.progress(name, done, last, f"{metric} {metrics[metric]:.4g}")
        if done == last or time.monotonic() - saved > seconds_between_saves:
            log.save(name, done, state)
            saved = time.monotonic()
    return state


def stacked(
    step: Step[Carry], *, unrolled: bool
) -> Callable[[Carry, Any, Key[Array, "n"]], tuple[Carry, Metrics]]:
    """The step of several trainings at once, each with its key; metrics are their means.

    Their states lie along a first axis. A GPU or TPU takes them in one vmapped step; on a CPU,
    where a convolution with a kernel per member falls on a slow path, it is better unrolled.
    """

    def together(states: Carry, data: Any, keys: Key[Array, "n"]) -> tuple[Carry, Metrics]:
        if unrolled:
            done = [step(member(states, i), data, key) for i, key in enumerate(keys)]
            stepped, metrics = stack(done)
        else:
            stepped, metrics = jax.vmap(step, (0, None, 0))(states, data, keys)
        return stepped, jax.tree.map(jnp.mean, metrics)

    return together


def stack(trees: Sequence[Carry]) -> Carry:
    """Trees of arrays as one, along a first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def member(stacked: Carry, number: int) -> Carry:
    """One of the trees that `stack` was given."""
    return jax.tree.map(lambda leaf: leaf[number], stacked)


def draw(key: Key[Array, ""], data: Any, batch_size: int) -> Any:
    """Random rows of `data`, with replacement."""
    n = len(jax.tree.leaves(data)[0])
    rows = jax.random.randint(key, (batch_size,), 0, n)
    return jax.tree.map(lambda array: array[rows], data)


def moving_average(average: Model, model: Model, decay: float | Float[Array, ""]) -> Model:
    """decay * average + (1 - decay) * model, parameter by parameter (an EMA teacher's step)."""
    return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, average, model)


def init(make: Callable[[nnx.Rngs], Model], key: Key[Array, ""]) -> Model:
    """The model that `make` builds from random number generators, in one compiled call.

    Eagerly, each parameter's draw would be compiled on its own: 20 times slower on a CPU.
    """
    return jax.jit(lambda key: make(nnx.Rngs(key)))(key)


@functools.lru_cache(maxsize=4)
def _advance(step: Step[Any]) -> Callable[..., tuple[Any, dict[str, Array]]]:
    """The compiled call from one step to another; its bounds are dynamic, so it traces once.

    A step that goes on in a further call of `loop` is not compiled again.
    """

    def zeros(state: Any, data: Any, key: Key[Array, ""]) -> dict[str, Array]:
        shapes = jax.eval_shape(step, state, data, key)[1]
        return {name: jnp.zeros(s.shape, s.dtype) for name, s in shapes.items()}

    def body(
        number: Int[Array, ""], carry: tuple[Any, dict[str, Array]], data: Any, key: Key[Array, ""]
    ) -> tuple[Any, dict[str, Array]]:
        state, metrics = step(carry[0], data, jax.random.fold_in(key, number))
        return state, jax.tree.map(jnp.add, carry[1], dict(metrics))

    @functools.partial(jax.jit, compiler_options=_compiler_options())
    def scanned(
        state: Any, data: Any, key: Key[Array, ""], first: Int[Array, ""], last: Int[Array, ""]
    ) -> tuple[Any, dict[str, Array]]:
        start = (state, zeros(state, data, key))
        return jax.lax.fori_loop(first, last, lambda i, c: body(i, c, data, key), start)

    single = jax.jit(body, compiler_options=_compiler_options())

    def stepwise(
        state: Any, data: Any, key: Key[Array, ""], first: int, last: int
    ) -> tuple[Any, dict[str, Array]]:
        carry = (state, zeros(state, data, key))
        for number in range(first, last):
            carry = single(number, carry, data, key)
        return carry

    # Inside a loop XLA's CPU backend runs a convolution's gradient single-threaded and by the
    # slow path: 24 times slower (jax 0.10.2). Dispatching step by step costs it 1 ms instead.
    return stepwise if jax.default_backend() == "cpu" else scanned


@functools.cache
def _compiler_options() -> dict[str, Any]:
    """What XLA is told about a training step: on a CPU, no YNNPACK, where jaxlib has that option.

    YNNPACK takes a convolution's weight gradient for a convolution by a window of the whole image:
    1.7 to 3.5 times slower than Eigen's (experiments/train_step.md); forward they are even.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: jnp.zeros(()), compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # a jaxlib before YNNPACK, or after the option
        return {}
    return options


def warmup_cosine(learning_rate: float, num_steps: int, weight_decay: float = 0.0) -> Any:
    """AdamW with a linear warm-up over the first 5% of the steps and a cosine decay to zero.

    Loshchilov & Hutter 2017 (SGDR) and 2019 (AdamW).
    """
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, warmup_steps=max(1, num_steps // 20), decay_steps=max(2, num_steps)
    )
    return optax.adamw(schedule, weight_decay=weight_decay)


def apply_batched(
    function: Callable[[Any, Float[Array, "batch h w c"]], Array],
    model: Any,
    images: UInt8[np.ndarray, "n h w c"],
    batch_size: int = 2048,
) -> np.ndarray:
    """function(model, images) over the first axis, a batch at a time, the last one padded.

    `function` takes float32 images in [0, 1]. One of a module, such as `features_of`, is compiled
    once for models of one structure; one that is made anew for each call, each time.
    """
    compiled = _compiled(function, jax.tree.structure(model))
    batch_size = max(1, min(batch_size, len(images)))
    outputs = []
    for start in range(0, max(1, len(images)), batch_size):
        batch = images[start : start + batch_size]
        missing = batch_size - len(batch)
        padded = np.pad(batch, ((0, missing), *((0, 0),) * (images.ndim - 1)))
        outputs.append(np.asarray(compiled(model, padded))[: len(batch)])
    return np.concatenate(outputs)


def outputs_of(model: Any, images: Float[Array, "batch h w c"]) -> Array:
    """What the model says of the images: for `apply_batched`."""
    return model(images)


def features_of(model: Any, images: Float[Array, "batch h w c"]) -> Array:
    """The model's features of the images: for `apply_batched`."""
    return model.features(images)


# What was compiled goes with its entry: so a sweep over many structures does not fill the memory.
@functools.lru_cache(maxsize=16)
def _compiled(
    function: Callable[[Any, Float[Array, "batch h w c"]], Array], structure: Any
) -> Callable[..., Array]:
    return jax.jit(lambda model, batch: function(model, as_float(batch)))
