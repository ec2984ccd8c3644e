"""The flagship: labels bought in rounds until a target accuracy is reached, and certified.

The first labels cover the space of the features; the next may be asked where the first, spread over
a graph, leave most in doubt. Networks are trained on them and on all images (FreeMatch and kin). A
further round buys labels where the networks are unsure, spread over their features, and trains on
from where the last one ended: labels grow by a factor, so rounds, and cost, are as the logarithm of
the labels. Once an audit would as likely as not certify the target for no more labels than the next
round takes, were the errors 1.5 times what the networks doubt, they are trained to the end, refined
and distilled to one, and the next labels are an audit of that one. If it is certified the run is
done; if not, its labels train too.
"""

import dataclasses
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxlabel import query, semisupervised
from jaxlabel.config import setting
from jaxlabel.log import Log
from jaxlabel.methods import stopping
from jaxlabel.methods.stopping import StoppingRule, mean_uncertainty
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import PoolPredictions, Predictor, predict_pool, predict_probabilities
from jaxlabel.query import COVERAGE, STRATEGIES, UNCERTAINTY, Labelled
from jaxlabel.semisupervised import committee, refinement, sequential_queries, setup
from jaxlabel.semisupervised.propagation import Propagated


@dataclasses.dataclass
class Config(stopping.Settings, sequential_queries.Settings, refinement.Settings):
    """Settings of the flagship; configs/flagship.py has them per data set and machine."""

    initial_labels: int = setting(
        40, "labels that cover the features before a network is trained", low=1
    )
    initial_query: str = setting("medoids", "how they are chosen", choices=COVERAGE)
    query: str = setting("diverse", "how later labels are chosen", choices=STRATEGIES)
    growth: float = setting(
        1.6, "a round ends with as many times the labels of the one before", low=1.05
    )
    round_steps: int = setting(800, "training steps of a round", low=1)
    steps: int = setting(
        5000, "training steps of the end, when the labels of all rounds are there, and again after "
        "an audit that failed; guide and ramp are shares of a round's steps, or of these", low=1,
    )  # fmt: skip
    graph_until: int = setting(
        0, "a run that buys up to so many labels, those for a certificate apart, is taught by the "
        "graph alone: objective=graph in place of freematch; 0: none", low=0,
    )  # fmt: skip
    typical_until: int = setting(
        0, "a run that buys up to so many asks the first where images are most alike: "
        "initial_query=typiclust in place of medoids; 0: none", low=0,
    )  # fmt: skip
    pool: int = setting(
        20000, "the images among which a round chooses; of more than that, a random part", low=1
    )
    members: int = setting(1, "networks; several stay together, or are distilled to one", low=1)
    distil_steps: int = setting(
        1000, "training steps of that; 0: the networks together are the model", low=0
    )

    def with_labels(self, count: int, log: Log) -> "Config":
        """The settings of a run that trains on so many labels: of few, as few want it.

        What was chosen otherwise than by default stays. The log is told.
        """
        few: dict[str, Any] = {}
        if count <= self.graph_until and self.objective == Config.objective:
            few["objective"] = "graph"
        if count <= self.typical_until and self.initial_query == Config.initial_query:
            few["initial_query"] = "typiclust"
        if few:
            named = ", ".join(f"{name}={value}" for name, value in few.items())
            log.say(f"for {count} labels: {named} (config.graph_until, config.typical_until)")
        return dataclasses.replace(self, **few)


class Context(NamedTuple):
    """What stays the same over the rounds."""

    config: Config
    images: UInt8[np.ndarray, "n h w c"]
    spaces: setup.Spaces
    regions: sequential_queries.Regions | None
    oracle: Oracle
    capacity: int
    log: Log

    def asks_sequentially(self, labels: int) -> bool:
        """Whether scouts ask next, when so many labels are paid for."""
        return self.regions is not None and self.config.asks_sequentially(labels)


def run(
    config: Config,
    images: UInt8[np.ndarray, "n h w c"],
    oracle: Oracle,
    key: Key[Array, ""],
    log: Log,
) -> Predictor:
    """A classifier that reaches the target, or the best that the budget buys; which, it says.

    Raises:
      UsageError: the budget buys no label, or none that could certify the target.
    """
    space_key, start_key, round_key, region_key = jax.random.split(key, 4)
    labelled = query.NO_LABELS
    capacity = query.plan(oracle, len(images))
    rule = StoppingRule(config, len(images), oracle, log)
    trains_on = max(1, int(capacity - config.reserve * capacity))
    config, first = config.with_labels(trains_on, log), min(config.initial_labels, trains_on)
    rule.check(capacity, first, capacity - trains_on)
    sequential_start = first < config.sequential_until  # they look where medoids do
    strategies = {config.initial_query, config.query, *(["medoids"] if sequential_start else [])}
    spaces = setup.spaces(config, strategies, first, images, space_key, log)
    regions = sequential_queries.regions(spaces, region_key) if sequential_start else None
    context = Context(config, images, spaces, regions, oracle, capacity, log)
    state = committee.begin(config, config.members, images, oracle.num_classes, start_key, log)
    short, long = (committee.cycle(config, n) for n in (config.round_steps, config.steps))
    again = refinement.cycle(config)
    reserve = config.reserve * capacity
    seen: PoolPredictions | None = None
    for number in itertools.count():
        ask_key, fit_key, end_key, distil_key, audit_key, look_key, again_key = jax.random.split(
            jax.random.fold_in(round_key, number), 7
        )
        labelled = rule.recall(labelled, number - 1)
        left = query.num_affordable(oracle, len(images), labelled.indices)
        bought = len(labelled.indices)
        total = min(grown(config, bought), max(bought + int(left - reserve), bought, 1))
        if (
            seen is None
            and number
            and config.query in UNCERTAINTY
            and not context.asks_sequentially(bought)
        ):
            seen = pool_predictions(context, state, labelled, look_key)
        labelled = buy(context, seen, labelled, total - bought, number, ask_key)
        left = query.num_affordable(oracle, len(images), labelled.indices)
        last = left - reserve < 1 or len(labelled.indices) == bought
        most = left if last else min(left, grown(config, total) - total)
        if not last and context.asks_sequentially(total):
            log.progress("sequential_batch", total, config.sequential_until)
            continue
        if not last:
            state = learn(context, state, labelled, f"round_{number}", short, fit_key)
            seen = pool_predictions(context, state, labelled, look_key)
            log.arrays("pool", rows=seen.rows, probabilities=seen.predictions.probabilities)
            log.scalars(
                "rounds",
                number,
                {
                    "labels_spent": len(labelled.indices),
                    "belief": 1 - mean_uncertainty(seen.predictions.probabilities),
                },
            )
            if not rule.should_audit(seen, labelled, most) or should_continue(
                context, rule, number
            ):
                continue
        state, seen = learn(context, state, labelled, f"end_{number}", long, end_key), None
        if refinement.applies(config, len(labelled.indices)):
            state = refinement.refine(
                again, state, known(context, labelled, None), spaces.base, labelled, again_key, log,
                f"refined_{number}",
            )  # fmt: skip
        model = committee.distilled(
            config, state, images, labelled, distil_key, log, f"distilled_{number}"
        )
        probabilities = predict_probabilities(model, images)
        log.save(_ended(number), oracle.num_classes, np.zeros(1))
        labelled, audited = rule.audit(audit_key, probabilities, labelled, most, number)
        if audited:
            if rule.certified:
                return make_predictor(context, model, probabilities, labelled, rule, "target")
            reserve = config.reserve * query.num_affordable(oracle, len(images), labelled.indices)
        elif rule.target_reached_by_confidence(probabilities):
            return make_predictor(
                context, model, probabilities, labelled, rule, "target (its own belief)"
            )
        elif last and reserve and left >= 1:
            reserve = 0.0  # there will be no certificate: what was kept for it trains
        elif last:
            return make_predictor(context, model, probabilities, labelled, rule, "budget")
    raise AssertionError("labels end before numbers do")


def grown(config: Config, labels: int) -> int:
    """How many labels there are to be after the round that follows."""
    if config.asks_sequentially(labels):
        return min(labels + config.sequential_batch, config.sequential_until)
    return max(labels + 1, round(config.growth * labels)) if labels else config.initial_labels


def should_continue(context: Context, rule: StoppingRule, number: int) -> bool:
    """Whether another round follows, whatever the networks believe.

    Where there is one class yet, of which they are always sure; where the run went on without
    training to the end when it was here before: it keeps to the way that it took, whatever other
    networks a new class or another machine makes of it.
    """
    if context.oracle.num_classes < 2:
        return True
    went_on = len(query.chosen_before(context.log, number + 1, len(context.images))) > 0
    if not went_on or rule.audited(number):
        return False
    ended = context.log.restore(_ended(number), np.zeros(1))
    return ended is None or ended[0] < context.oracle.num_classes


def _ended(number: int) -> str:
    """The checkpoint that says with how many classes a round's networks were trained to the end."""
    return f"ended_{number}"


def pool_predictions(
    context: Context, state: Any, labelled: Labelled, key: Key[Array, ""]
) -> PoolPredictions:
    """How the networks see `pool` images and those paid for: enough for the round that follows."""
    bought, classes = len(labelled.indices), context.oracle.num_classes
    size = max(context.config.pool, 2 * grown(context.config, bought))
    models = committee.networks(context.config, state)
    return predict_pool(models, context.images, classes, size, labelled.indices, key)


def buy(
    context: Context,
    seen: PoolPredictions | None,
    labelled: Labelled,
    count: int,
    number: int,
    key: Key[Array, ""],
) -> Labelled:
    """What was paid for before and `count` labels more, as far as the money goes.

    After an audit that failed, its labels may be the round's already.
    """
    excluded = np.setdiff1d(
        query.unaffordable(context.oracle, len(context.images)), labelled.indices
    )
    count = min(count, len(context.images) - len(excluded) - len(labelled.indices))
    if count <= 0:
        return labelled

    def choose() -> Int[np.ndarray, "count"]:
        if context.regions and context.asks_sequentially(len(labelled.indices)):
            classes = context.oracle.num_classes
            return sequential_queries.choose(
                context.config, context.regions, labelled, classes, count, excluded
            )
        strategy = context.config.query if number else context.config.initial_query
        if strategy in UNCERTAINTY and seen is not None:
            there = np.flatnonzero(~np.isin(seen.rows, excluded))
            features, probabilities = (jnp.asarray(each)[there] for each in seen.predictions)
            asked = np.flatnonzero(np.isin(seen.rows[there], labelled.indices))
            found = query.select(strategy, key, features, count, asked, probabilities)
            return seen.rows[there[found]]
        space = jnp.asarray(context.spaces.query)
        return query.select_affordable(
            context.oracle, strategy, key, space, count, labelled.indices
        )

    wanted = query.chosen(context.log, number, count, len(context.images), labelled, choose)
    return query.buy(context.oracle, labelled, wanted, number)


def learn(
    context: Context,
    state: Any,
    labelled: Labelled,
    name: str,
    cycle: committee.Cycle,
    key: Key[Array, ""],
) -> Any:
    """The networks after a cycle of training on what is paid for."""
    found = setup.propagate_labels(
        context.config, context.spaces.graph, labelled, context.oracle.num_classes
    )
    return committee.learn(cycle, state, known(context, labelled, found), key, context.log, name)


def known(context: Context, labelled: Labelled, found: Propagated | None) -> semisupervised.Data:
    """What a training sees: the images, what is paid for, and what the graph makes of it."""
    n, classes = len(context.images), context.oracle.num_classes
    graph_targets = setup.make_graph_targets(context.config, found, n, classes)
    prior = setup.class_prior(context.config, labelled, classes)
    return semisupervised.pad(
        context.images, labelled.indices, labelled.labels, context.capacity, graph_targets, prior
    )


def make_predictor(
    context: Context,
    model: Any,
    probabilities: Float[np.ndarray, "n classes"],
    labelled: Labelled,
    rule: StoppingRule,
    stopped_by: str,
) -> Predictor:
    """The model, a class of every image, and what is certified of it."""
    context.log.arrays("pool", rows=np.arange(len(probabilities)), probabilities=probabilities)
    labels = probabilities.argmax(axis=-1).astype(np.int32)
    labels[labelled.indices] = labelled.labels
    used = {name: getattr(context.config, name) for name in ("objective", "initial_query")}
    confidence = 1 - mean_uncertainty(probabilities)
    summary = used | {"confidence": confidence} | rule.summary(confidence)
    return Predictor(model, labels, None, stopped_by, summary)


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """What makes the whole classifier from random number generators: to load it."""
    make = setup.make_network(config, shape, num_classes)
    count = 1 if config.distil_steps else config.members
    return lambda rngs: setup.ensemble(config, [make(rngs) for _ in range(count)])
