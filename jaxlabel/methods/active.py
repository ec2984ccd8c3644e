"""The flagship recipe: buy labels in rounds until a target accuracy is reached and certified.

1. The first labels are spread over the feature space. In a run that learns features for the
   neighbour graph, the next ones, up to the 100th, are bought one after another where label
   propagation over this graph is uncertain; from 20 labels on, the graph is built from the features
   that the network has learned so far.
2. A network is trained by FreeMatch on the labelled set and on all unlabelled images. While labels
   are few, propagated labels are targets as well.
3. Each further round buys labels where the network is uncertain, spread over its features, and
   continues training from the weights of the round before. The number of labels grows by a factor
   per round, so the number of rounds, and with it the cost, is logarithmic in the labels.
4. The rounds end when an audit would be about as likely as not to certify the target with no more
   labels than the next round would buy, assuming an error rate of 3 times the network's mean
   uncertainty. The network is then trained for the final number of steps and refined, and audited
   with newly bought labels.
5. If the audit certifies the target, the run ends. If not, the labels of the audit join the
   labelled set and the rounds go on.
"""

import dataclasses
import itertools
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jaxlabel import query
from jaxlabel.config import setting
from jaxlabel.log import Log
from jaxlabel.methods import rounds, stopping_settings
from jaxlabel.methods.rounds import Context
from jaxlabel.methods.stopping import StoppingRule, mean_uncertainty
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import PoolPredictions, Predictor, predict_probabilities
from jaxlabel.query import STRATEGIES, Labelled, needs_model
from jaxlabel.semisupervised import cycles, refinement, sequential_queries, setup
from jaxlabel.semisupervised.settings import NAMES

# With at most so many training labels, the first images to label lie in the densest places: ten
# labels of Fashion-MNIST then cover nine classes, and medoids seven.
TYPICAL_UNTIL = 15


@dataclasses.dataclass
class Config(stopping_settings.Settings, setup.ModelSettings, refinement.Settings):
    """Settings of a run that buys labels in rounds until a target accuracy is certified.

    The file configs/flagship.py has values for several data sets.
    """

    growth: ClassVar[float] = rounds.GROWTH  # each round increases the labels by this factor
    initial_labels: int = setting(
        20, "number of labels bought at once, at the start of the run", low=1
    )
    query: str = setting(
        "diverse", "query strategy; one that needs a trained model chooses the labels after the "
        "initial ones, which are then medoids or, for at most 15 training labels, typiclust",
        choices=STRATEGIES, own=True,
    )  # fmt: skip
    objective: str = setting(
        "freematch", "training objective for unlabelled images", choices=NAMES, own=True
    )
    steps: int = setting(
        5000, "training steps of the final training, once the rounds have ended, and of each final "
        "training after a failed audit; a round has steps / 3, and a refinement steps / 15, raised "
        "to 400 but never above steps", low=1,
    )  # fmt: skip

    @property
    def sequential_until(self) -> int:
        """The number of labels up to which each one is bought where propagation is least certain.

        These sequential queries begin after the initial labels. It is 0, for none, if `query` needs
        no model, if `objective` uses no propagated labels, or if the graph over which labels are
        propagated has no learned features (`contrast_steps` and `refinements` are both 0).
        """
        learns = self.contrast_steps > 0 or self.refinements > 0
        until = sequential_queries.UNTIL
        if learns and needs_model(self.query) and self.uses_graph_targets(until):
            return until
        return 0

    @property
    def round_steps(self) -> int:
        """The training steps of each round: a third of `steps`.

        After a shorter training, the network chooses less useful images: without rounds of this
        length, 40 labels of Overhead-MNIST gave an accuracy five points lower
        (experiments/flagship.md, "Long rounds before asking").
        """
        return max(1, self.steps // 3)

    @property
    def refine_steps(self) -> int:
        """The steps of a refinement: `steps` / 15, raised to 400, but never above `steps`."""
        return min(self.steps, max(400, self.steps // 15))

    def first_query(self, count: int) -> str:
        """Return the query strategy of the first labels in a run that buys `count` training labels.

        It is the setting `query`, unless that needs a trained model.
        """
        if not needs_model(self.query):
            return self.query
        return "typiclust" if count <= TYPICAL_UNTIL else "medoids"


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """Buy labels and train a classifier until it reaches a target accuracy or the budget is spent.

    Returns:
      The classifier and its results, whose `stopped_by` is the reason why the run ended, such as
      "target" or "budget".

    Raises:
      UsageError: the budget buys no label, or so few labels that the accuracy could not be
        certified even if every prediction were right.
    """
    space_key, start_key, round_key, region_key = jax.random.split(key, 4)
    labelled = query.NO_LABELS
    capacity = query.num_labels_in_budget(oracle, len(images))
    rule = StoppingRule(config, len(images), oracle, log)
    trains_on = config.num_to_train(capacity)
    first, first_query = min(config.initial_labels, trains_on), config.first_query(trains_on)
    rule.check(capacity, first, capacity - trains_on)
    sequential_start = first < config.sequential_until
    # the regions of sequential queries are found with medoids, which need features
    strategies = {first_query, config.query, *(["medoids"] if sequential_start else [])}
    spaces = setup.compute_spaces(config, strategies, first, images, space_key, log)
    regions = sequential_queries.find_regions(spaces, region_key) if sequential_start else None
    context = Context(config, first_query, images, spaces, regions, oracle, capacity, log)
    state = setup.initial_state(config, images, oracle.num_classes, cycles.first_key(start_key))
    short, long = (cycles.make_cycle(config, n) for n in (config.round_steps, config.steps))
    refine_cycle = refinement.make_cycle(config, config.refine_steps)
    reserve = config.reserve * capacity
    pool: PoolPredictions | None = None
    trained_on = 0  # the number of labels on which the network was last trained
    for number in itertools.count():
        # the fourth key is not used any more: without it, other labels would be bought
        ask_key, fit_key, end_key, _, audit_key, pool_key, refine_key = jax.random.split(
            jax.random.fold_in(round_key, number), 7
        )
        labelled = rule.add_abandoned_audits(labelled, number - 1)
        left = query.num_affordable(oracle, len(images), labelled.indices)
        bought = len(labelled.indices)
        total = min(
            rounds.num_labels_after_round(context, bought),
            max(bought + int(left - reserve), bought, 1),
        )
        if (
            pool is None
            and number
            and needs_model(config.query)
            and not context.asks_sequentially(bought)
        ):
            pool = rounds.pool_predictions(context, state, labelled, pool_key)
        labelled = rounds.buy(context, pool, labelled, total - bought, number, ask_key)
        left = query.num_affordable(oracle, len(images), labelled.indices)
        last = left - reserve < 1 or len(labelled.indices) == bought
        audit_budget = left if last else min(left, rounds.grown(total) - total)
        if not last and context.asks_sequentially(total, trained_on):
            log.progress("sequential_queries", total, min(config.sequential_until, trains_on))
            continue
        trained_on = total
        if not last:
            state = rounds.train_network(
                context, state, labelled, f"round_{number}", short, fit_key
            )
            sequential = context.asks_sequentially(total)
            # a resumed run needs no predictions for sequential queries that were chosen before
            pool = None
            if not (sequential and has_continued(context, rule, number)):
                pool = rounds.pool_predictions(context, state, labelled, pool_key)
                log_pool(log, pool, number, len(labelled.indices))
            may_end = pool is not None and rule.should_audit(pool, labelled, audit_budget)
            if not may_end or should_continue(context, rule, number):
                if sequential:
                    state, context = rounds.learn_regions(
                        context, state, labelled, f"learned_{number}", refine_cycle, refine_key
                    )
                continue
        state = rounds.train_network(context, state, labelled, f"end_{number}", long, end_key)
        pool = None
        if refinement.should_refine(config, len(labelled.indices)):
            state = refinement.refine(
                refine_cycle, state, rounds.training_data(context, labelled, None), spaces.base,
                labelled, refine_key, log, f"refined_{number}", config.refinements,
                finds_classes=refinement.finds_unlabelled_classes(config),
            )  # fmt: skip
        model = setup.average_mirrored(config, state.teacher)
        probabilities = predict_probabilities(model, images)
        log.save(_end_checkpoint(number), oracle.num_classes, np.zeros(1))
        labelled, audited = rule.audit(audit_key, probabilities, labelled, audit_budget, number)
        if audited:
            if rule.certified:
                return make_predictor(context, model, probabilities, labelled, rule, "target")
            reserve = config.reserve * query.num_affordable(oracle, len(images), labelled.indices)
        elif rule.target_reached_by_confidence(probabilities):
            return make_predictor(
                context, model, probabilities, labelled, rule, "target (by the mean confidence)"
            )
        elif last and reserve and left >= 1:
            reserve = 0.0  # no audit is possible any more, so its share of the budget trains
        elif last:
            return make_predictor(context, model, probabilities, labelled, rule, "budget")
        if context.asks_sequentially(len(labelled.indices)):
            state, context = rounds.learn_regions(
                context, state, labelled, f"relearned_{number}", refine_cycle,
                jax.random.fold_in(refine_key, 1),
            )  # fmt: skip
    raise AssertionError("the loop over rounds ended: it should return when the labels run out")


def log_pool(log: Log, pool: PoolPredictions, number: int, num_labels: int) -> None:
    """Log the predictions of a round, a map of their features, and the mean confidence."""
    probabilities = pool.predictions.probabilities
    log.arrays("pool", rows=pool.rows, probabilities=probabilities)
    log.arrays("pool_map", rows=pool.rows, points=pool.map_points())
    belief = 1 - mean_uncertainty(probabilities)
    log.scalars("rounds", number, {"labels_spent": num_labels, "belief": belief})


def should_continue(context: Context, rule: StoppingRule, number: int) -> bool:
    """Return True if another round must follow round `number`, whatever the network predicts.

    There are two such cases. First, fewer than two classes are known, so that every prediction is
    certain. Second, the run was interrupted and then resumed, and before the interruption it had
    begun the next round without an audit (buying labels of random images to certify the accuracy).
    A resumed run must repeat its earlier decisions, even if a new class or a different machine has
    changed its network.

    Args:
      context: the inputs of the run.
      rule: the stopping rule, which knows the audits of the run.
      number: the number of the round.
    """
    return context.oracle.num_classes < 2 or has_continued(context, rule, number)


def has_continued(context: Context, rule: StoppingRule, number: int) -> bool:
    """Return True if an interrupted run had begun the round after round `number` without an audit.

    Args:
      context: the inputs of the run.
      rule: the stopping rule, which knows the audits of the run.
      number: the number of the round.
    """
    went_on = len(query.restored_choice(context.log, number + 1, len(context.images))) > 0
    if not went_on or rule.audit_started(number):
        return False
    ended = context.log.restore(_end_checkpoint(number), np.zeros(1))
    return ended is None or ended[0] < context.oracle.num_classes


def _end_checkpoint(number: int) -> str:
    """Return the name of the checkpoint that is saved after the final training in round `number`.

    A checkpoint has a name and a step; this one's step is the number of known classes.
    """
    return f"ended_{number}"


def make_predictor(
    context: Context,
    model: Any,
    probabilities: Float[np.ndarray, "n classes"],
    labelled: Labelled,
    rule: StoppingRule,
    stopped_by: str,
) -> Predictor:
    """Return the result of a run: the model, a class for every image, and the certificate.

    The class of a labelled image is its label; the class of any other image is the model's
    prediction.

    Args:
      context: the inputs of the run.
      model: the trained classifier.
      probabilities: the model's class probabilities for all training images.
      labelled: the labels bought so far.
      rule: the stopping rule, which holds the certificates of the run.
      stopped_by: why the run ended, such as "target" or "budget".
    """
    context.log.arrays("pool", rows=np.arange(len(probabilities)), probabilities=probabilities)
    labels = probabilities.argmax(axis=-1).astype(np.int32)
    labels[labelled.indices] = labelled.labels
    confidence = 1 - mean_uncertainty(probabilities)
    summary: dict[str, float | str] = {
        "initial_query": context.first_query,
        "confidence": confidence,
        **rule.result_entries(confidence),
    }
    return Predictor(model, labels, None, stopped_by, summary)


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """Return a function that builds an untrained classifier from an `nnx.Rngs`.

    To load a saved model, the caller builds a network with this function and then overwrites its
    weights with the saved ones.
    """
    make = setup.make_network(config, shape, num_classes)
    return lambda rngs: setup.average_mirrored(config, make(rngs))
