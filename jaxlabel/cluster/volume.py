"""Label propagation over a graph with known class sizes: Poisson MBO (Calder et al. 2020)."""

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
    """Propagate labels over a graph such that classes get about their expected sizes.

    This is Poisson MBO, algorithm 2 of Calder, Cook, Thorpe & Slepcev 2020 (Poisson Learning,
    ICML). It starts from the scores of `poisson_learning`. Each of `num_rounds` rounds runs
    `num_steps` steps of diffusion, with the labels as sources, and then assigns every point to one
    class so that the class sizes match `class_priors`. A class without a label gets no points, and
    its expected size goes to the other classes.

    Args:
      labels: the class of each point, or -1 for a point without a label.
      class_priors: the expected class frequencies, which sum to 1.
      num_rounds: the number of rounds.
      num_steps: the number of diffusion steps in each round.
      fidelity: the weight of the labels, the paper's mu.

    Returns:
      One-hot predictions, one row per point.
    """
    labels = np.asarray(labels)
    labelled = labels >= 0
    classes = np.unique(labels[labelled])
    scores = poisson_learning(graph, labels, num_classes)[:, classes]
    class_priors = class_priors[classes] / max(class_priors[classes].sum(), 1e-12)
    one_hot = (labels[:, None] == classes).astype(np.float32)
    source = np.where(labelled[:, None], one_hot - one_hot[labelled].mean(axis=0), 0.0)
    source = (fidelity * source).astype(np.float32)
    step = np.float32(1 / max(graph.degrees.max(), 1e-12))
    indicators = project_to_sizes(scores, class_priors)
    for _ in range(num_rounds):
        for _ in range(num_steps):
            flow = (
                graph.weights @ indicators - graph.degrees[:, None].astype(np.float32) * indicators
            )
            indicators = indicators + step * (flow + source)
        indicators = project_to_sizes(indicators, class_priors)
    return (classes[indicators.argmax(axis=1)][:, None] == np.arange(num_classes)).astype(
        np.float32
    )


def project_to_sizes(
    scores: Float[np.ndarray, "n classes"],
    class_priors: Float[np.ndarray, "classes"],
    *,
    num_steps: int = 100,
    rate: float = 10.0,
) -> Float[np.ndarray, "n classes"]:
    """Assign every point to one class by its scores, so that classes have about the given sizes.

    A point is assigned to the class c with the largest weight_c * score_c. The weight of a class
    grows while the class is too small, and shrinks while it is too large (Calder et al. 2020,
    algorithm 2, lines 14-17). As in the paper, weights start at 1 and stay between 0.5 and 2.

    Args:
      scores: the score of each point for each class.
      class_priors: the fraction of points that each class should get; they sum to 1.
      num_steps: the number of updates of the weights.
      rate: the step size of an update; the default, 10, is that of the paper.

    Returns:
      One-hot assignments, one row per point.
    """
    weights = np.ones(scores.shape[1], np.float32)
    classes = np.arange(scores.shape[1])
    shifted = scores - scores.min(axis=1, keepdims=True)
    for _ in range(num_steps):
        chosen = np.argmax(weights * shifted, axis=1)
        shares = np.bincount(chosen, minlength=len(classes)) / len(scores)
        weights = np.clip(weights + rate * (class_priors - shares), 0.5, 2.0).astype(np.float32)
    return (np.argmax(weights * shifted, axis=1)[:, None] == classes).astype(np.float32)
