"""Labels on a graph with the classes' sizes known: Poisson MBO (Calder et al. 2020)."""

import numpy as np
from jaxtyping import Float, Int

from jaxlabel.cluster.graph import Graph, poisson_learning


def poisson_mbo(
    graph: Graph,
    labels: Int[np.ndarray, "n"],
    num_classes: int,
    class_priors: Float[np.ndarray, "classes"],
    *,
    num_rounds: int = 20,
    num_steps: int = 40,
    fidelity: float = 1.0,
) -> Float[np.ndarray, "n classes"]:
    """Class indicators (one 1 per row) of about the sizes `class_priors` (shares that sum to 1).

    Algorithm 2 of Calder, Cook, Thorpe & Slepcev 2020 (Poisson Learning, ICML): from Poisson
    learning's scores, alternately `num_steps` of diffusion with the labels as sources and a
    projection to the nearest indicators whose sizes are kept. `fidelity` is the paper's mu.
    A class without a label gets no point: its share goes to the others.
    """
    labels = np.asarray(labels)
    labelled = labels >= 0
    classes = np.unique(labels[labelled])
    scores = poisson_learning(graph, labels, num_classes)[:, classes]
    class_priors = class_priors[classes] / max(class_priors[classes].sum(), 1e-12)
    known = (labels[:, None] == classes).astype(np.float32)
    source = np.where(labelled[:, None], known - known[labelled].mean(axis=0), 0.0)
    source = (fidelity * source).astype(np.float32)
    step = np.float32(1 / max(graph.degrees.max(), 1e-12))
    found = keep_sizes(scores, class_priors)
    for _ in range(num_rounds):
        for _ in range(num_steps):
            flow = graph.weights @ found - graph.degrees[:, None].astype(np.float32) * found
            found = found + step * (flow + source)
        found = keep_sizes(found, class_priors)
    return (classes[found.argmax(axis=1)][:, None] == np.arange(num_classes)).astype(np.float32)


def keep_sizes(
    scores: Float[np.ndarray, "n classes"],
    class_priors: Float[np.ndarray, "classes"],
    *,
    num_steps: int = 100,
    rate: float = 10.0,
) -> Float[np.ndarray, "n classes"]:
    """Indicators of the largest of weight_c * score_c, the weights such that the sizes fit.

    The projection of Calder et al. 2020, algorithm 2, lines 14-17: a weight grows while its class
    is too small; the paper's bounds are kept, 0.5 and 2, and its step of 10.
    """
    weights = np.ones(scores.shape[1], np.float32)
    classes = np.arange(scores.shape[1])
    shifted = scores - scores.min(axis=1, keepdims=True)
    for _ in range(num_steps):
        chosen = np.argmax(weights * shifted, axis=1)
        shares = np.bincount(chosen, minlength=len(classes)) / len(scores)
        weights = np.clip(weights + rate * (class_priors - shares), 0.5, 2.0).astype(np.float32)
    return (np.argmax(weights * shifted, axis=1)[:, None] == classes).astype(np.float32)
