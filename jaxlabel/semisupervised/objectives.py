"""The objectives: what one batch asks of the student, all of one signature.

The teacher is an exponential moving average of the student (Tarvainen & Valpola 2017) and sees no
gradient. Labelled and unlabelled images go through the student in one pass: on a CPU that counts.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxlabel import losses
from jaxlabel.augment import Transform
from jaxlabel.config import is_own, own_part
from jaxlabel.losses import consistency, thresholds
from jaxlabel.nets.layers import compute_dtype
from jaxlabel.semisupervised.settings import Settings

DECAY = 0.99  # of running statistics: about the last 100 batches count


class Batch(NamedTuple):
    """What a step sees.

    Attributes:
      rows: of the unlabelled images among all, for what is remembered per image.
      guide: the classes that the graph spread, one-hot, or zeros.
      prior: how often each class is expected.
      progress: the share of the training's steps that is done.
    """

    images: Float[Array, "b h w c"]
    labels: Int[Array, "b"]
    unlabelled: Float[Array, "u h w c"]
    rows: Int[Array, "u"]
    graph_targets: Float[Array, "u classes"]
    prior: Float[Array, "classes"]
    progress: Float[Array, ""]


class Memory(NamedTuple):
    """What the thresholds of pseudo-labels remember of earlier batches."""

    seen: thresholds.Confidence
    chosen: Int[Array, "n"]


class Views(NamedTuple):
    """The two transforms: what a target is made of, and what is to agree with it."""

    weak: Transform
    strong: Transform


class Outcome(NamedTuple):
    """What an objective makes of a batch: per-example losses, the labelled and the others'."""

    labelled: Float[Array, "b"]
    unlabelled: Float[Array, "m"]
    memory: Memory
    metrics: Mapping[str, Float[Array, ""]]


Objective = Callable[[Settings, Views, Any, Any, Batch, Memory, Key[Array, ""]], Outcome]
Weigh = Callable[[Settings, Array, Batch, Memory], tuple[Float[Array, "u"], Memory]]


def objective_of(settings: Settings) -> Objective:
    """The objective that the settings name."""
    if is_own(settings.objective):
        own: Objective = own_part(settings.objective, "config.objective")
        return own
    return OBJECTIVES[settings.objective]


def supervised(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """Cross-entropy of the labelled images alone: what the others are compared with."""
    logits = student(views.weak(key, batch.images))
    return Outcome(losses.cross_entropy(logits, batch.labels), jnp.zeros(1), memory, {})


def pseudo_label(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """The student's own most probable class is taken for true, ever more (Lee 2013)."""
    labelled, others = _apart(views.weak(key, _together(batch)), batch)
    logits, unlabelled = _both(student, labelled, others)
    loss = consistency.pseudo_label(unlabelled, jax.nn.softmax(unlabelled))
    ramp = consistency.ramp_up(batch.progress, settings.ramp)
    return Outcome(losses.cross_entropy(logits, batch.labels), ramp * loss, memory, {"ramp": ramp})


def mean_teacher(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """The student agrees with the teacher's view of the image (Tarvainen & Valpola 2017)."""
    student_key, teacher_key = jax.random.split(key)
    labelled, others = _apart(views.weak(student_key, _together(batch)), batch)
    targets = jax.nn.softmax(teacher(views.weak(teacher_key, batch.unlabelled)))
    logits, unlabelled = _both(student, labelled, others)
    ramp = consistency.ramp_up(batch.progress, settings.ramp)
    loss = ramp * consistency.squared_difference(unlabelled, targets)
    return Outcome(losses.cross_entropy(logits, batch.labels), loss, memory, {"ramp": ramp})


def vat(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """Predictions hold out against the worst small perturbation (Miyato et al. 2018)."""
    view_key, direction_key = jax.random.split(key)
    labelled, others = _apart(views.weak(view_key, _together(batch)), batch)
    loss = consistency.virtual_adversarial(
        student, others, direction_key, radius=settings.radius, probe=probe_of(settings)
    )
    ramp = consistency.ramp_up(batch.progress, settings.ramp)
    fitted = losses.cross_entropy(student(labelled), batch.labels)
    return Outcome(fitted, ramp * loss, memory, {"ramp": ramp})


def probe_of(settings: Settings, dtype: Any = None) -> float:
    """How far VAT's finite difference looks: far enough for what the networks compute in.

    Over 784 pixels 0.1 is 0.004 each: bfloat16's next number from 1. Half the radius is more.
    """
    if (dtype or compute_dtype()) == jnp.float32:
        return 0.1
    return max(0.1, settings.radius / 2)


def mixmatch(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """Guesses over two views, sharpened and mixed with labels (Berthelot et al. 2019).

    The guesses are the teacher's, where the paper takes the student's.
    """
    view_key, other_key, mix_key = jax.random.split(key, 3)
    labelled, one = _apart(views.weak(view_key, _together(batch)), batch)
    two = views.weak(other_key, batch.unlabelled)
    logits = teacher(jnp.concatenate([one, two])).reshape(2, len(one), -1)
    guesses = consistency.guess(logits, settings.temperature)
    num_classes = guesses.shape[-1]
    known = jax.nn.one_hot(batch.labels, num_classes)
    images, targets = consistency.mixup(
        mix_key, jnp.concatenate([labelled, one, two]),
        jnp.concatenate([known, guesses, guesses]), concentration=0.75,
    )  # fmt: skip
    outputs, b = student(images), len(labelled)
    fitted = consistency.soft_cross_entropy(outputs[:b], targets[:b])
    agreed = consistency.squared_difference(outputs[b:], targets[b:]) / num_classes
    ramp = jnp.clip(batch.progress / max(settings.ramp, 1e-9), 0.0, 1.0)  # linear, as in the paper
    return Outcome(fitted, ramp * agreed, memory, {"ramp": ramp})


def graph(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """The labels that the graph spread are taken for true: a classifier distilled from it."""
    labelled, others = _apart(views.weak(key, _together(batch)), batch)
    logits, unlabelled = _both(student, labelled, others)
    loss = consistency.soft_cross_entropy(unlabelled, batch.graph_targets)
    return Outcome(losses.cross_entropy(logits, batch.labels), loss, memory, {})


def confident(weigh: Weigh, *, watch_aligned: bool = False) -> Objective:
    """FixMatch (Sohn et al. 2020), its confidence being weighed as `weigh` does.

    The teacher's class of the weak view is what the student is to say of the strong one. Our
    runs are short: the first targets, of a teacher that knows nothing, are ramped up. The guide is
    let go linearly; where it is unsure, the teacher is as little trusted as elsewhere: taken at its
    word from the start, it learns its own first guesses (experiments/semisup.md). An image for
    which neither has a target has no weight. A guide of no class at all is none.

    Args:
      watch_aligned: the statistics of the largest probability are of the aligned predictions.
    """

    def objective(
        settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch,
        memory: Memory, key: Key[Array, ""],
    ) -> Outcome:  # fmt: skip
        weak_key, strong_key = jax.random.split(key)
        labelled, others = _apart(views.weak(weak_key, _together(batch)), batch)
        predicted = jax.nn.softmax(teacher(others))
        seen, targets = thresholds.observe(memory.seen, predicted, DECAY), predicted
        if settings.alignment != "none":
            targets = consistency.align(predicted, batch.prior, seen.mean)
        if watch_aligned:  # but the mean is what predictions are aligned by: of what they were
            seen = thresholds.observe(memory.seen, targets, DECAY)._replace(mean=seen.mean)
        memory = memory._replace(seen=seen)
        if settings.graph_targets:
            trust = jnp.clip(1.0 - batch.progress / settings.graph_targets, 0.0, 1.0)
            trust *= jnp.any(batch.graph_targets > 0)
            targets = trust * batch.graph_targets + (1.0 - trust) * targets
        weights, memory = weigh(settings, targets, batch, memory)
        weights = weights * (jnp.sum(targets, axis=-1) > 0)
        strong = views.strong(strong_key, batch.unlabelled)
        logits, unlabelled = _both(student, labelled, strong)
        ramp = consistency.ramp_up(batch.progress, settings.ramp)
        loss = ramp * weights * consistency.pseudo_label(unlabelled, targets)
        metrics = {"confident": jnp.mean(weights), "level": memory.seen.level}
        return Outcome(losses.cross_entropy(logits, batch.labels), loss, memory, metrics)

    return objective


def by_threshold(
    settings: Settings, targets: Array, batch: Batch, memory: Memory
) -> tuple[Float[Array, "u"], Memory]:
    """FixMatch's mask."""
    return thresholds.fixed_mask(targets, settings.threshold), memory


def by_curriculum(
    settings: Settings, targets: Array, batch: Batch, memory: Memory
) -> tuple[Float[Array, "u"], Memory]:
    """FlexMatch's mask (Zhang et al. 2021)."""
    num_classes = targets.shape[-1]
    levels = thresholds.curriculum_thresholds(memory.chosen, num_classes, settings.threshold)
    chosen = thresholds.remember(memory.chosen, batch.rows, targets, settings.threshold)
    return thresholds.class_mask(targets, levels), memory._replace(chosen=chosen)


def by_confidence(
    settings: Settings, targets: Array, batch: Batch, memory: Memory
) -> tuple[Float[Array, "u"], Memory]:
    """FreeMatch's mask (Wang et al. 2023): without its fairness loss (SAF), with `alignment`.

    The thresholds are of the predictions as they are, the mask is of the aligned ones.
    """
    levels = thresholds.adaptive_thresholds(memory.seen, settings.threshold)
    return thresholds.class_mask(targets, levels), memory


def by_gaussian(
    settings: Settings, targets: Array, batch: Batch, memory: Memory
) -> tuple[Float[Array, "u"], Memory]:
    """SoftMatch's weights (Chen et al. 2023), by aligned predictions against their statistics."""
    return thresholds.gaussian_weights(targets, memory.seen), memory


OBJECTIVES: dict[str, Objective] = {
    "supervised": supervised,
    "pseudo_label": pseudo_label,
    "mean_teacher": mean_teacher,
    "vat": vat,
    "mixmatch": mixmatch,
    "fixmatch": confident(by_threshold),
    "flexmatch": confident(by_curriculum),
    "freematch": confident(by_confidence),
    "softmatch": confident(by_gaussian, watch_aligned=True),
    "graph": graph,
}


def _together(batch: Batch) -> Float[Array, "n h w c"]:
    return jnp.concatenate([batch.images, batch.unlabelled])


def _apart(images: Array, batch: Batch) -> tuple[Array, Array]:
    return images[: len(batch.images)], images[len(batch.images) :]


def _both(model: Any, labelled: Array, others: Array) -> tuple[Array, Array]:
    """The logits of both, in one pass."""
    logits = model(jnp.concatenate([labelled, others]))
    return logits[: len(labelled)], logits[len(labelled) :]
