"""The training loop of all methods: many steps per compiled call, exactly resumable."""

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
    """The checkpoint of `fit`: all that the next step depends on except data and random key."""

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
    """Train the model for `num_steps` optimizer steps on random batches of `data`, and return it.

    Batches are drawn with replacement on the device. Step i depends only on the state and
    `fold_in(key, i)`, so a run that resumes from the log's checkpoint `name` ends with the same
    bits.

    Args:
      loss: a function of (model, batch, key) that returns the mean loss and metrics to log.
      data: a pytree of arrays with equal first axes.
      steps_per_call: the number of steps per compiled call, after which the log gets a record.

    Raises:
      Diverged: a metric is not finite.
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
    """Run training steps up to step `num_steps`, and return the last state.

    This is the loop of `fit`, for methods with a training step of their own. It resumes from the
    log's checkpoint `name` if there is one.

    Args:
      step: a function of (state, data, key) that returns the next state and metrics to log; it is
        compiled once.
      state: a pytree of arrays: all that a step depends on except data and key.
      data: a pytree of arrays with the whole data set; the step draws its batch from it.
      first_step: the number of steps already done, for a method that calls this function
        repeatedly.

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


def joint_step(
    step: Step[Carry], *, unrolled: bool
) -> Callable[[Carry, Any, Key[Array, "n"]], tuple[Carry, Metrics]]:
    """Return a step that trains several models at once, each with its own key.

    The models' states are stacked along a first axis (see `stack`); metrics are averaged.

    Args:
      unrolled: whether to run the models' steps in sequence, which is faster on a CPU, where a
        convolution with one kernel per model is slow. Otherwise the step is vmapped.
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
    """Stack the arrays of several trees of equal structure along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def member(joint_step: Carry, number: int) -> Carry:
    """Return one of the trees that `stack` joined."""
    return jax.tree.map(lambda leaf: leaf[number], joint_step)


def draw(key: Key[Array, ""], data: Any, batch_size: int) -> Any:
    """Draw random rows of `data` with replacement."""
    n = len(jax.tree.leaves(data)[0])
    rows = jax.random.randint(key, (batch_size,), 0, n)
    return jax.tree.map(lambda array: array[rows], data)


def moving_average(average: Model, model: Model, decay: float | Float[Array, ""]) -> Model:
    """Return decay * average + (1 - decay) * model per parameter: the update of an EMA teacher."""
    return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, average, model)


def init(make: Callable[[nnx.Rngs], Model], key: Key[Array, ""]) -> Model:
    """Build a model with `make` from a random key, in one compiled call.

    Uncompiled, each parameter's draw would be compiled separately: 20 times slower on a CPU.
    """
    return jax.jit(lambda key: make(nnx.Rngs(key)))(key)


@functools.lru_cache(maxsize=4)
def _advance(step: Step[Any]) -> Callable[..., tuple[Any, dict[str, Array]]]:
    """Compile a function that runs a range of steps and returns the state and the metrics' sums.

    The range's bounds are dynamic, so it is traced once. The result is cached per step function.
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

    # In a loop, XLA's CPU backend computes a convolution's gradient on one thread with slow code:
    # 24 times slower (jax 0.10.2). Dispatching each step separately costs only 1 ms.
    return stepwise if jax.default_backend() == "cpu" else scanned


@functools.cache
def _compiler_options() -> dict[str, Any]:
    """Return XLA's options for training steps: on a CPU, disable YNNPACK if jaxlib has that option.

    YNNPACK computes a convolution's weight gradient as a convolution with a kernel of the whole
    image's size, 1.7 to 3.5 times slower than Eigen does (experiments/train_step.md); forward
    passes take equal time.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: jnp.zeros(()), compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # a jaxlib without this option
        return {}
    return options


def warmup_cosine(learning_rate: float, num_steps: int, weight_decay: float = 0.0) -> Any:
    """Return AdamW with linear warm-up over the first 5% of the steps and cosine decay to zero.

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
    """Compute function(model, images) in batches along the first axis, and concatenate the results.

    Args:
      function: takes a model and float32 images in [0, 1]. Pass a function defined at module level,
        such as `features_of`: it is compiled once per model structure, while a function that is
        created for each call is compiled each time.
      batch_size: the number of images per call; the last batch is padded.
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
    """Return the model's outputs for the images; for use with `apply_batched`."""
    return model(images)


def features_of(model: Any, images: Float[Array, "batch h w c"]) -> Array:
    """Return the model's features of the images; for use with `apply_batched`."""
    return model.features(images)


# The cache is bounded because a dropped entry frees its compiled code: a sweep over many model
# structures would otherwise fill the memory.
@functools.lru_cache(maxsize=16)
def _compiled(
    function: Callable[[Any, Float[Array, "batch h w c"]], Array], structure: Any
) -> Callable[..., Array]:
    return jax.jit(lambda model, batch: function(model, as_float(batch)))
