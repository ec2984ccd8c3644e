"""How far several people agree: Cohen's and Fleiss' kappa, and the pictures they differ about."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from jaxlabel.label.desk import Desk
from jaxlabel.oracle.votes import NOT_SURE

MOST = 100  # disagreements that are listed


def cohens_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Return Cohen's kappa (1960) of two people's answers to the same items.

    It is 1 for full agreement and 0 for as much as by chance; not a number without items, and 1
    where both always give one and the same answer.
    """
    if not first:
        return float("nan")
    total = len(first)
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / total
    left, right = Counter(first), Counter(second)
    chance = sum(left[name] * right[name] for name in left) / total**2
    return 1.0 if chance == 1 else (agreed - chance) / (1 - chance)


def fleiss_kappa(ratings: Sequence[Sequence[str]]) -> float:
    """Return Fleiss' kappa (1971) of items that were each answered by two people or more.

    The items may have different numbers of answers; each item then weighs the same.
    """
    if not ratings:
        return float("nan")
    agreed, shares = 0.0, Counter[str]()
    for answers in ratings:
        counts, total = Counter(answers), len(answers)
        agreed += sum(c * (c - 1) for c in counts.values()) / (total * (total - 1))
        for name, count in counts.items():
            shares[name] += count / total  # type: ignore[assignment]
    agreed /= len(ratings)
    chance = sum((share / len(ratings)) ** 2 for share in shares.values())
    return 1.0 if chance >= 1 - 1e-12 else (agreed - chance) / (1 - chance)


def people(desk: Desk) -> dict[str, Any]:
    """Return who has answered how much, how far they agree, and where they do not."""
    standing = desk.standing()
    given: dict[str, dict[str, str]] = defaultdict(dict)
    for vote in standing.votes:
        given[vote.item][vote.person] = vote.class_name
    counts = Counter(vote.person for vote in standing.votes)
    classes = {
        item: {who: name for who, name in each.items() if name != NOT_SURE}
        for item, each in given.items()
    }
    shared = {item: each for item, each in classes.items() if len(each) > 1}
    names = sorted(counts)
    kappa = None
    if len(names) == 2 and shared:
        pairs = [[each[who] for who in names] for each in shared.values()]
        kappa = cohens_kappa([a for a, _ in pairs], [b for _, b in pairs])
    elif shared:
        kappa = fleiss_kappa([list(each.values()) for each in shared.values()])
    differ = [
        {"item": item, "votes": each, "locked": item in standing.bought}
        for item, each in shared.items()
        if len(set(each.values())) > 1
    ]
    return {
        "people": [{"name": who, "answers": counts[who]} for who in names],
        "shared": len(shared),
        "kappa": kappa,
        "which": "Cohen's kappa" if len(names) == 2 else "Fleiss' kappa",
        "disagreements": differ[:MOST],
        "not_sure": [
            {"item": v.item, "person": v.person}
            for v in standing.votes
            if v.class_name == NOT_SURE and v.item not in standing.labels
        ],
        "votes_needed": desk.rule.needed,
    }
