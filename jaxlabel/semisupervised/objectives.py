"""The training objectives: functions from a batch to per-example losses, with one signature.

The teacher is an exponential moving average of the student (Tarvainen & Valpola 2017) and gets no
gradient. Labelled and unlabelled images pass through the student in one call, which saves time on a
CPU.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxlabel import losses
from jaxlabel.config import is_own, own_part
from jaxlabel.losses import consistency, thresholds
from jaxlabel.nets import devices
from jaxlabel.nets.layers import compute_dtype
from jaxlabel.semisupervised import weights
from jaxlabel.semisupervised.batches import Batch, Memory, Objective, Outcome, Views, Weigh
from jaxlabel.semisupervised.settings import Settings

# The decay of the running statistics: they average over about the last 100 batches. FreeMatch
# and SoftMatch take 0.999 (Wang et al. 2023, Chen et al. 2023); trainings here are much shorter.
DECAY = 0.99
RAMP = 0.1  # share of the steps over which the unlabelled loss gets its full weight
TEMPERATURE = 0.5  # of mixmatch's sharpened predictions
RADIUS = 2.0  # length of VAT's perturbation, for pixels in [0, 1]
REFINEMENT = "refinement"  # the objective of refinement.py, which no setting can choose


def objective_of(settings: Settings) -> Objective:
    """Return the training objective that the setting `objective` names.

    An objective is a function that computes the losses of a batch.
    """
    if is_own(settings.objective):
        own: Objective = own_part(settings.objective, "config.objective")
        return own
    return OBJECTIVES[settings.objective]


def supervised(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """Compute the loss of supervised training: the cross-entropy of the labelled images alone."""
    logits = student(views.weak(key, batch.images))
    return Outcome(losses.cross_entropy(logits, batch.labels), jnp.zeros(1), memory, {})


def pseudo_label(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """Compute the pseudo-label loss (Lee 2013).

    For each unlabelled image, the target is the class that the trained network finds most probable.
    The weight of this loss grows during the training.
    """
    labelled, others = _split_batch(views.weak(key, _all_images(batch)), batch)
    logits, unlabelled = _both_logits(student, labelled, others)
    loss = consistency.pseudo_label(unlabelled, jax.nn.softmax(unlabelled))
    ramp = consistency.ramp_up(batch.progress, RAMP)
    return Outcome(losses.cross_entropy(logits, batch.labels), ramp * loss, memory, {"ramp": ramp})


def mean_teacher(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """Compute the mean-teacher loss (Tarvainen & Valpola 2017).

    The student is the trained network, and the teacher is the moving average of its weights. The
    loss is the squared difference between their predictions for two weakly transformed views of an
    image.
    """
    student_key, teacher_key = jax.random.split(key)
    labelled, others = _split_batch(views.weak(student_key, _all_images(batch)), batch)
    targets = jax.nn.softmax(teacher(views.weak(teacher_key, batch.unlabelled)))
    logits, unlabelled = _both_logits(student, labelled, others)
    ramp = consistency.ramp_up(batch.progress, RAMP)
    loss = ramp * consistency.squared_difference(unlabelled, targets)
    return Outcome(losses.cross_entropy(logits, batch.labels), loss, memory, {"ramp": ramp})


def vat(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """Compute the loss of virtual adversarial training (VAT, Miyato et al. 2018).

    The loss measures how much the network's predictions change under the perturbation of a given
    length that changes them most.
    """
    view_key, direction_key = jax.random.split(key)
    labelled, others = _split_batch(views.weak(view_key, _all_images(batch)), batch)
    loss = consistency.virtual_adversarial(
        student, others, direction_key, radius=RADIUS, probe=vat_step_size()
    )
    ramp = consistency.ramp_up(batch.progress, RAMP)
    fitted = losses.cross_entropy(student(labelled), batch.labels)
    return Outcome(fitted, ramp * loss, memory, {"ramp": ramp})


def vat_step_size(dtype: Any = None) -> float:
    """Return the step size of the finite difference in virtual adversarial training (VAT).

    The step is large enough for the precision of `dtype`. A step of length 0.1 over 784 pixels is
    0.004 per pixel, which is the distance from 1 to the next bfloat16 number. For dtypes less
    precise than float32, the step is therefore at least half the radius (the length of VAT's
    perturbation).

    Args:
      dtype: the dtype of the networks' computations; None for the configured one.
    """
    if (dtype or compute_dtype()) == jnp.float32:
        return 0.1
    return max(0.1, RADIUS / 2)


def mixmatch(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """Compute the MixMatch loss (Berthelot et al. 2019).

    The teacher's predictions for two views of each unlabelled image are averaged and sharpened, and
    then serve as its label. All images and their labels are mixed in random pairs. The teacher is
    the moving average of the trained network; the paper uses the trained network itself.
    """
    view_key, other_key, mix_key = jax.random.split(key, 3)
    labelled, view1 = _split_batch(views.weak(view_key, _all_images(batch)), batch)
    view2 = views.weak(other_key, batch.unlabelled)
    logits = teacher(jnp.concatenate([view1, view2])).reshape(2, len(view1), -1)
    guesses = consistency.average_and_sharpen(logits, TEMPERATURE)
    num_classes = guesses.shape[-1]
    known = jax.nn.one_hot(batch.labels, num_classes)
    images, targets = consistency.mixup(
        mix_key, jnp.concatenate([labelled, view1, view2]),
        jnp.concatenate([known, guesses, guesses]), concentration=0.75,
    )  # fmt: skip
    outputs, b = student(images), len(labelled)
    fitted = consistency.soft_cross_entropy(outputs[:b], targets[:b])
    agreed = consistency.squared_difference(outputs[b:], targets[b:]) / num_classes
    ramp = jnp.clip(batch.progress / max(RAMP, 1e-9), 0.0, 1.0)  # linear, as in the paper
    return Outcome(fitted, ramp * agreed, memory, {"ramp": ramp})


def graph(
    settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch, memory: Memory,
    key: Key[Array, ""],
) -> Outcome:  # fmt: skip
    """Compute the cross-entropy of labelled images, and of others with their propagated labels.

    Propagated labels are those that label propagation over the neighbour graph gave to the images.
    """
    labelled, others = _split_batch(views.weak(key, _all_images(batch)), batch)
    logits, unlabelled = _both_logits(student, labelled, others)
    loss = consistency.soft_cross_entropy(unlabelled, batch.graph_targets)
    return Outcome(losses.cross_entropy(logits, batch.labels), loss, memory, {})


def make_fixmatch_objective(
    weigh: Weigh, *, watch_aligned: bool = False, graph_alone: bool = False
) -> Objective:
    """Return a FixMatch objective (Sohn et al. 2020) that weights unlabelled images by `weigh`.

    The student (the trained network) learns to predict, for a strongly transformed view of an
    image, the class that the teacher (the moving average of the student) predicts for a weakly
    transformed view. Runs are short, so the weight of the loss grows slowly while the teacher is
    still untrained.

    If `settings.graph_targets` is positive, the target is a mixture of the label propagated over
    the neighbour graph and the teacher's prediction. The share of the propagated label falls
    linearly to 0. The share of the teacher's prediction is the same for images without a propagated
    label, because a teacher with full weight from the start learns its own first guesses
    (experiments/semisup.md). An image with an empty target has weight 0. If no image in the batch
    has a propagated label, the target is the teacher's prediction alone.

    Args:
      weigh: a function that returns the weight of each unlabelled image and the updated statistics
        of earlier batches.
      watch_aligned: when the statistics of the teacher's confidence are taken. True: after its
        predictions are adjusted to the expected class shares; False: before.
      graph_alone: True if the propagated label is the only target from the first step to the last.
    """

    def objective(
        settings: Settings, views: Views, student: Any, teacher: Any, batch: Batch,
        memory: Memory, key: Key[Array, ""],
    ) -> Outcome:  # fmt: skip
        weak_key, strong_key = jax.random.split(key)
        labelled, others = _split_batch(views.weak(weak_key, _all_images(batch)), batch)
        predicted = jax.nn.softmax(teacher(others))
        seen, targets = thresholds.update_statistics(memory.seen, predicted, DECAY), predicted
        if settings.alignment != "none":
            targets = consistency.align(predicted, batch.prior, seen.mean)
        if watch_aligned:
            # alignment divides by the mean of the plain predictions, so that mean is kept
            seen = thresholds.update_statistics(memory.seen, targets, DECAY)._replace(
                mean=seen.mean
            )
        memory = memory._replace(seen=seen)
        if graph_alone or settings.graph_targets:
            trust = jnp.any(batch.graph_targets > 0).astype(targets.dtype)
            if not graph_alone:
                trust *= jnp.clip(1.0 - batch.progress / settings.graph_targets, 0.0, 1.0)
            targets = trust * batch.graph_targets + (1.0 - trust) * targets
        shares, memory = weigh(settings, targets, batch, memory)
        shares = shares * (jnp.sum(targets, axis=-1) > 0)
        strong = views.strong(strong_key, batch.unlabelled)
        logits, unlabelled = _both_logits(student, labelled, strong)
        ramp = consistency.ramp_up(batch.progress, RAMP)
        loss = ramp * shares * consistency.pseudo_label(unlabelled, targets)
        metrics = {"confident": jnp.mean(shares), "level": memory.seen.level}
        return Outcome(losses.cross_entropy(logits, batch.labels), loss, memory, metrics)

    return objective


OBJECTIVES: dict[str, Objective] = {
    "supervised": supervised,
    "pseudo_label": pseudo_label,
    "mean_teacher": mean_teacher,
    "vat": vat,
    "mixmatch": mixmatch,
    "fixmatch": make_fixmatch_objective(weights.fixmatch_weights),
    "flexmatch": make_fixmatch_objective(weights.flexmatch_weights),
    "freematch": make_fixmatch_objective(weights.freematch_weights),
    "softmatch": make_fixmatch_objective(weights.softmatch_weights, watch_aligned=True),
    "graph": graph,
    REFINEMENT: make_fixmatch_objective(weights.full_weights, graph_alone=True),
}


def _all_images(batch: Batch) -> Float[Array, "n h w c"]:
    """Concatenate a batch's labelled images and, after them, its unlabelled images."""
    return devices.shard(jnp.concatenate([batch.images, batch.unlabelled]))


def _split_batch(images: Array, batch: Batch) -> tuple[Array, Array]:
    """Split an array with one row per image of the batch into labelled and unlabelled rows.

    The rows must be in the order of `_all_images`: labelled images first.
    """
    return images[: len(batch.images)], images[len(batch.images) :]


def _both_logits(model: Any, labelled: Array, others: Array) -> tuple[Array, Array]:
    """Return the logits of the images `labelled` and of the images `others`.

    The model is called only once, on all of them together.
    """
    logits = model(devices.shard(jnp.concatenate([labelled, others])))
    return logits[: len(labelled)], logits[len(labelled) :]
