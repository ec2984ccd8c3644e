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
from jaxlabel.methods.stopping import Judge, doubt
from jaxlabel.oracle import Oracle
from jaxlabel.predictor import Predictor, Survey, probabilities, survey
from jaxlabel.query import COVERAGE, STRATEGIES, UNCERTAINTY, Paid
from jaxlabel.semisupervised import committee, problem, refinement, scouting
from jaxlabel.semisupervised.propagation import Spread


@dataclasses.dataclass
class Config(stopping.Settings, scouting.Settings, refinement.Settings):
    """Settings of the flagship; configs/flagship.py has them per data set and machine."""

    first: int = setting(40, "labels that cover the features before a network is trained", low=1)
    first_query: str = setting("medoids", "how they are chosen", choices=COVERAGE)
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
        "first_query=typiclust in place of medoids; 0: none", low=0,
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
        if count <= self.typical_until and self.first_query == Config.first_query:
            few["first_query"] = "typiclust"
        if few:
            named = ", ".join(f"{name}={value}" for name, value in few.items())
            log.say(f"for {count} labels: {named} (config.graph_until, config.typical_until)")
        return dataclasses.replace(self, **few)


class Task(NamedTuple):
    """What stays the same over the rounds."""

    config: Config
    images: UInt8[np.ndarray, "n h w c"]
    spaces: problem.Spaces
    regions: scouting.Regions | None
    oracle: Oracle
    capacity: int
    log: Log

    def scouts(self, labels: int) -> bool:
        """Whether scouts ask next, when so many labels are paid for."""
        return self.regions is not None and self.config.scouting(labels)


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
    paid = query.NOTHING
    capacity = query.plan(oracle, len(images))
    judge = Judge(config, len(images), oracle, log)
    trains_on = max(1, int(capacity - config.reserve * capacity))
    config, first = config.with_labels(trains_on, log), min(config.first, trains_on)
    judge.check(capacity, first, capacity - trains_on)
    scouts = first < config.scout_until  # they look where medoids do
    strategies = {config.first_query, config.query, *(["medoids"] if scouts else [])}
    spaces = problem.spaces(config, strategies, first, images, space_key, log)
    regions = scouting.regions(spaces, region_key) if scouts else None
    task = Task(config, images, spaces, regions, oracle, capacity, log)
    state = committee.begin(config, config.members, images, oracle.num_classes, start_key, log)
    short, long = (committee.cycle(config, n) for n in (config.round_steps, config.steps))
    again = refinement.cycle(config)
    reserve = config.reserve * capacity
    seen: Survey | None = None
    for number in itertools.count():
        ask_key, fit_key, end_key, distil_key, audit_key, look_key, again_key = jax.random.split(
            jax.random.fold_in(round_key, number), 7
        )
        paid = judge.recall(paid, number - 1)
        left = query.how_many(oracle, len(images), paid.indices)
        bought = len(paid.indices)
        total = min(grown(config, bought), max(bought + int(left - reserve), bought, 1))
        if seen is None and number and config.query in UNCERTAINTY and not task.scouts(bought):
            seen = look_around(task, state, paid, look_key)
        paid = buy(task, seen, paid, total - bought, number, ask_key)
        left = query.how_many(oracle, len(images), paid.indices)
        last = left - reserve < 1 or len(paid.indices) == bought
        most = left if last else min(left, grown(config, total) - total)
        if not last and task.scouts(total):
            log.progress("scouts", total, config.scout_until)
            continue
        if not last:
            state = learn(task, state, paid, f"round_{number}", short, fit_key)
            seen = look_around(task, state, paid, look_key)
            log.scalars("rounds", number, {
                "labels_spent": len(paid.indices), "belief": 1 - doubt(seen.view.beliefs),
            })  # fmt: skip
            if not judge.hopes(seen, paid, most) or goes_on(task, judge, number):
                continue
        state, seen = learn(task, state, paid, f"end_{number}", long, end_key), None
        if refinement.applies(config, len(paid.indices)):
            state = refinement.refine(
                again, state, known(task, paid, None), spaces.base, paid, again_key, log,
                f"refined_{number}",
            )  # fmt: skip
        model = committee.distilled(
            config, state, images, paid, distil_key, log, f"distilled_{number}"
        )
        beliefs = probabilities(model, images)
        log.save(_ended(number), oracle.num_classes, np.zeros(1))
        paid, audited = judge.audit(audit_key, beliefs, paid, most, number)
        if audited:
            if judge.certified:
                return hand_over(task, model, beliefs, paid, judge, "target")
            reserve = config.reserve * query.how_many(oracle, len(images), paid.indices)
        elif judge.believes(beliefs):
            return hand_over(task, model, beliefs, paid, judge, "target (its own belief)")
        elif last and reserve and left >= 1:
            reserve = 0.0  # there will be no certificate: what was kept for it trains
        elif last:
            return hand_over(task, model, beliefs, paid, judge, "budget")
    raise AssertionError("labels end before numbers do")


def grown(config: Config, labels: int) -> int:
    """How many labels there are to be after the round that follows."""
    if config.scouting(labels):
        return min(labels + config.scouts, config.scout_until)
    return max(labels + 1, round(config.growth * labels)) if labels else config.first


def goes_on(task: Task, judge: Judge, number: int) -> bool:
    """Whether another round follows, whatever the networks believe.

    Where there is one class yet, of which they are always sure; where the run went on without
    training to the end when it was here before: it keeps to the way that it took, whatever other
    networks a new class or another machine makes of it.
    """
    if task.oracle.num_classes < 2:
        return True
    went_on = len(query.chosen_before(task.log, number + 1, len(task.images))) > 0
    if not went_on or judge.audited(number):
        return False
    ended = task.log.restore(_ended(number), np.zeros(1))
    return ended is None or ended[0] < task.oracle.num_classes


def _ended(number: int) -> str:
    """The checkpoint that says with how many classes a round's networks were trained to the end."""
    return f"ended_{number}"


def look_around(task: Task, state: Any, paid: Paid, key: Key[Array, ""]) -> Survey:
    """How the networks see `pool` images and those paid for: enough for the round that follows."""
    bought, classes = len(paid.indices), task.oracle.num_classes
    size = max(task.config.pool, 2 * grown(task.config, bought))
    models = committee.networks(task.config, state)
    return survey(models, task.images, classes, size, paid.indices, key)


def buy(
    task: Task, seen: Survey | None, paid: Paid, count: int, number: int, key: Key[Array, ""]
) -> Paid:
    """What was paid for before and `count` labels more, as far as the money goes.

    After an audit that failed, its labels may be the round's already.
    """
    dear = np.setdiff1d(query.too_dear(task.oracle, len(task.images)), paid.indices)
    count = min(count, len(task.images) - len(dear) - len(paid.indices))
    if count <= 0:
        return paid

    def choose() -> Int[np.ndarray, "count"]:
        if task.regions and task.scouts(len(paid.indices)):
            classes = task.oracle.num_classes
            return scouting.choose(task.config, task.regions, paid, classes, count, dear)
        strategy = task.config.query if number else task.config.first_query
        if strategy in UNCERTAINTY and seen is not None:
            there = np.flatnonzero(~np.isin(seen.rows, dear))
            features, beliefs = (jnp.asarray(each)[there] for each in seen.view)
            asked = np.flatnonzero(np.isin(seen.rows[there], paid.indices))
            found = query.select(strategy, key, features, count, asked, beliefs)
            return seen.rows[there[found]]
        space = jnp.asarray(task.spaces.query)
        return query.select_affordable(task.oracle, strategy, key, space, count, paid.indices)

    wanted = query.chosen(task.log, number, count, len(task.images), paid, choose)
    return query.buy(task.oracle, paid, wanted, number)


def learn(
    task: Task, state: Any, paid: Paid, name: str, cycle: committee.Cycle, key: Key[Array, ""]
) -> Any:
    """The networks after a cycle of training on what is paid for."""
    found = problem.spread(task.config, task.spaces.graph, paid, task.oracle.num_classes)
    return committee.learn(cycle, state, known(task, paid, found), key, task.log, name)


def known(task: Task, paid: Paid, found: Spread | None) -> semisupervised.Data:
    """What a training sees: the images, what is paid for, and what the graph makes of it."""
    n, classes = len(task.images), task.oracle.num_classes
    guide = problem.guide_of(task.config, found, n, classes)
    prior = problem.prior_of(task.config, paid, classes)
    return semisupervised.pad(task.images, paid.indices, paid.labels, task.capacity, guide, prior)


def hand_over(
    task: Task, model: Any, beliefs: Float[np.ndarray, "n classes"], paid: Paid, judge: Judge,
    stopped_by: str,
) -> Predictor:  # fmt: skip
    """The model, a class of every image, and what is certified of it."""
    labels = beliefs.argmax(axis=-1).astype(np.int32)
    labels[paid.indices] = paid.labels
    used = {name: getattr(task.config, name) for name in ("objective", "first_query")}
    belief = 1 - doubt(beliefs)
    summary = used | {"confidence": belief} | judge.summary(belief)
    return Predictor(model, labels, None, stopped_by, summary)


def make_classifier(config: Config, shape: tuple[int, ...], num_classes: int) -> Any:
    """What makes the whole classifier from random number generators: to load it."""
    make = problem.make_network(config, shape, num_classes)
    count = 1 if config.distil_steps else config.members
    return lambda rngs: problem.ensemble(config, [make(rngs) for _ in range(count)])
