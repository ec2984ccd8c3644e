"""Our results for the experiments of the sources S0, S2, S3 and S4, beside their published figures.

    jaxlabel sweep --experiment=experiments/sources.py --data_root=DIR --jobs=2
    jaxlabel sweep --experiment=experiments/sources.py --data_root=DIR --jobs=2 --quick

DIR contains the folders mnist, fashion_mnist and overhead_mnist, each with its four IDX files. On 2
CPU cores the first command should take 45 minutes at most, the second 4. S1 is in encoder.py.
"""

from collections.abc import Sequence
from dataclasses import replace

from jaxlabel.methods import clusters, medoids, representatives
from jaxlabel.sweep import Arm, Experiment, Table

MNIST, FASHION, OVERHEAD = (f"idx:DATA_ROOT/{name}" for name in ("mnist", "fashion_mnist",
                                                                 "overhead_mnist"))  # fmt: skip
ALL = 60_000.0  # labels; no data set of this experiment has more training images
FEW = [500.0, 1000.0, 2000.0]


def get_experiment(quick: bool = False) -> Experiment:
    """Return the experiment with all tables.

    Args:
      quick: run one seed, fewer rows and short training.
    """
    tables = [
        doubling(quick),
        unsupervised(quick),
        *(seeded(data, quick) for data in (FASHION, MNIST, OVERHEAD)),
        percentiles(quick),
        best(quick),
        seeding(FASHION, 100.0, quick),
        seeding(OVERHEAD, 40.0, quick),
    ]
    question = "What do the classical methods reach with few labels, and is it what they say?"
    return Experiment(question, tables)


def doubling(quick: bool) -> Table:
    """Return S0's table: labels needed until 90% of MNIST's training labels are right."""
    base = medoids.Config(
        data=MNIST, map="none", stop="peek",
        space="codes", spread="cluster", nested=False, budget=2000,
        classifier_steps=500, code_steps=200 if quick else 2000, target=0.6 if quick else 0.9,
    )  # fmt: skip
    several, theirs = seeds(2, quick), [] if quick else [310]
    graph = replace(base, nested=True, space="graph")
    arms = [
        Arm("codes, nested clusters", replace(base, nested=True), {}, several, theirs),
        Arm("S0: codes, every round asks all medoids", base, {}, several, theirs),
        Arm("neighbour graph, nested clusters", graph, {}, several, theirs),
    ]
    measures = ("labels_spent", "train_label_accuracy", "test_accuracy")
    title = f"S0: MNIST until {base.target:.0%} of the training labels are right, by peeking"
    return Table(title, arms[:1] if quick else arms, measures)


def unsupervised(quick: bool) -> Table:
    """Return S2's table: PCA and k-means without labels.

    S2's accuracy, for which each cluster takes its most frequent class, is our purity.
    """
    base = clusters.Config(data=FASHION, iterations=20)
    counts = [16, 144] if quick else [4, 10, 16, 36, 64, 144, 256]
    theirs = [None, 0.75] if quick else [None, None, None, None, None, 0.75, 0.75]
    arm = Arm("PCA and k-means", base, {"clusters": counts}, seeds(3, quick), theirs)
    measures = ("purity", "homogeneity", "normalized_mutual_information", "matched_accuracy",
                "silhouette", "inertia")  # fmt: skip
    title = "S2: k-means on Fashion-MNIST, purity on the test images (theirs: 75 to 80%)"
    return Table(title, [arm], measures, over="clusters")


def seeded(data: str, quick: bool) -> Table:
    """Return S3's main table for a data set; S3 has published figures for Fashion-MNIST only."""
    name = {FASHION: "Fashion-MNIST", MNIST: "MNIST", OVERHEAD: "Overhead-MNIST"}[data]
    several = seeds(5 if data == FASHION else 2, quick)
    few = FEW[:1] if quick else FEW if data == FASHION else FEW[1:2]
    logistic, dense = models(data, quick)

    def theirs(*figures: float | None) -> Sequence[float | None]:
        return figures[: len(few)] if data == FASHION else ()

    def figure(value: float) -> Sequence[float | None]:
        return [value] if data == FASHION else ()

    budgets = {"budget": few}
    every = replace(logistic, select="random", budget=ALL, strength=0.5)
    centres = {"centres": [100] if quick else [100, 200, 300]}
    arms = [
        Arm("LR, all labels", every, seeds=several[:1], theirs=figure(0.841)),
        Arm("NN, all labels", replace(dense, select="random", budget=ALL,
                                      steps=300 if quick else 8000,
                                      batch_size=128),
            seeds=several, theirs=figure(0.8968)),
        Arm("LR, distances to centres, all labels", replace(every, features="distances"), centres,
            several, (0.8262, 0.8389, 0.8456)[: len(centres["centres"])]
            if data == FASHION else ()),
        Arm("LR, random", replace(logistic, select="random"), budgets, several,
            theirs(0.7852, 0.7924, 0.8089)),
        Arm("NN, random", replace(dense, select="random"), budgets, several,
            theirs(0.7351, 0.76, 0.7853)),
        Arm("LR, representatives", logistic, budgets, several, theirs(None, None, 0.8146)),
        Arm("NN, representatives", dense, budgets, several, theirs(0.755, 0.7636, 0.8024)),
        Arm("LR, whole clusters", replace(logistic, propagate=1.0), budgets, several,
            theirs(None, None, 0.8121)),
        Arm("NN, whole clusters", replace(dense, propagate=1.0), budgets, several,
            theirs(0.7649, 0.7780, 0.7990)),
        Arm("LR, nearest 25%", replace(logistic, propagate=0.25), budgets, several,
            theirs(None, None, 0.8044)),
        Arm("NN, nearest 25%", replace(dense, propagate=0.25), budgets, several,
            theirs(0.7598, 0.7734, 0.7942)),
    ]  # fmt: skip
    return Table(f"S3: clustering before classification, {name}", arms)


def percentiles(quick: bool) -> Table:
    """Return S3's second table: which share of each of 2000 clusters takes the cluster's label."""
    dense = replace(models(FASHION, quick)[1], budget=500.0 if quick else 2000.0)
    shares = [0.5] if quick else [0.2, 0.25, 0.3, 0.5, 0.75]
    theirs = [] if quick else [0.10, 0.7942, 0.8012, 0.8012, 0.7960]
    arm = Arm("NN, nearest share", dense, {"propagate": shares}, seeds(5, quick), theirs)
    return Table("S3 percentiles: 2000 clusters of Fashion-MNIST", [arm], over="propagate")


def best(quick: bool) -> Table:
    """Return the table of the best classical methods, beside S3's best with as many labels."""
    dense = models(FASHION, quick)[1]
    few, figures = (FEW[:1], [0.786]) if quick else (FEW, [0.786, 0.793, 0.815])
    grid = {"budget": few}
    several = seeds(3, quick)
    together = Arm("4 NNs, representatives", replace(dense, members=4), grid, several, figures)
    moved = replace(dense, augment=True)
    single = Arm("NN, representatives, moved images", moved, grid, several, figures)
    return Table("Best: classical methods on Fashion-MNIST", [together, single][: 2 - quick])


def seeding(data: str, budget: float, quick: bool) -> Table:
    """Return S4's table: four ways to use very few labels for logistic regression.

    S4 has published no figures.
    """
    name = {FASHION: "Fashion-MNIST", OVERHEAD: "Overhead-MNIST"}[data]
    base = replace(models(data, quick)[0], budget=budget, strength=0.5)
    several = seeds(20, quick)
    arms = [
        Arm("random", replace(base, select="random"), seeds=several),
        Arm("nearest to centres", base, seeds=several),
        Arm("whole clusters", replace(base, propagate=1.0), seeds=several),
        Arm("nearest 20%", replace(base, propagate=0.2), seeds=several),
    ]
    return Table(f"S4: {budget:.0f} labels of {name}, logistic regression", arms)


def models(data: str, quick: bool) -> tuple[representatives.Config, representatives.Config]:
    """Return the settings of logistic regression and of the network of seven layers.

    Both train on the labels of cluster representatives alone.
    """
    logistic = representatives.Config(data=data, max_iterations=20 if quick else 60)
    dense = representatives.Config(
        data=data, classifier="dense", steps=200 if quick else 600, batch_size=64
    )
    return logistic, dense


def seeds(count: int, quick: bool) -> range:
    """Return `count` seeds, or one seed if `quick`."""
    return range(1 if quick else count)
