"""Measure how far several people's labels agree: Cohen's and Fleiss' kappa, disagreements."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from jaxlabel.label.desk import Desk
from jaxlabel.oracle.votes import NOT_SURE

MOST = 100  # the largest number of disagreements listed


def cohens_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Return Cohen's kappa (1960) of two people's labels of the same pictures.

    It is 1 for full agreement and 0 for as much agreement as by chance. It is NaN if there are no
    pictures, and 1 if all labels of both people are the same class.

    Args:
      first: the class name that the first person gave to each picture.
      second: the class name that the second person gave to each picture.
    """
    if not first:
        return float("nan")
    total = len(first)
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / total
    left, right = Counter(first), Counter(second)
    chance = sum(left[name] * right[name] for name in left) / total**2
    return 1.0 if chance == 1 else (agreed - chance) / (1 - chance)


def fleiss_kappa(ratings: Sequence[Sequence[str]]) -> float:
    """Return Fleiss' kappa (1971) of the labels that two or more people gave to each picture.

    The pictures may have different numbers of labels; each picture has the same weight. The result
    is NaN if there are no pictures.

    Args:
      ratings: the class names that people gave to each picture, at least two per picture.
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
    """Return the JSON object of the view "People": answers per person, kappa, and disagreements.

    Its keys are "people" (names and numbers of answers), "shared" (the number of pictures that at
    least two people labelled), "kappa" (None without such pictures), "which" (the kind of kappa),
    "disagreements" (at most MOST), "not_sure" (answers "not sure" for unlabelled pictures) and
    "votes_needed".
    """
    snapshot = desk.snapshot()
    given: dict[str, dict[str, str]] = defaultdict(dict)
    for vote in snapshot.votes:
        given[vote.item][vote.person] = vote.class_name
    counts = Counter(vote.person for vote in snapshot.votes)
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
        {"item": item, "votes": each, "locked": item in snapshot.bought}
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
            for v in snapshot.votes
            if v.class_name == NOT_SURE and v.item not in snapshot.labels
        ],
        "votes_needed": desk.rule.needed,
    }
