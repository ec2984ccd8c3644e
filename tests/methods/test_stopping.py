import re

import jax
import numpy as np
import pytest
from logs import Memory
from stopping_rules import NUM_IMAGES, probabilities, rule, wrong

from jaxlabel.errors import UsageError
from jaxlabel.methods import stopping
from jaxlabel.predictor import PoolPredictions, Predictions
from jaxlabel.query import NO_LABELS, Labelled


def seen(mean_uncertainty):
    return PoolPredictions(
        np.arange(NUM_IMAGES),
        Predictions(np.zeros((NUM_IMAGES, 1)), probabilities(mean_uncertainty)),
    )


def test_an_audit_needs_a_low_uncertainty_and_enough_labels():
    one = rule()
    assert one.should_audit(seen(0.015), NO_LABELS, 1000) and not one.should_audit(
        seen(0.015), NO_LABELS, 50
    )
    assert not one.should_audit(
        seen(0.04), NO_LABELS, NUM_IMAGES
    )  # 3 times this uncertainty is above the allowed error
    assert not one.should_audit(seen(np.nan), NO_LABELS, 1000)
    assert not rule(target=0.0).should_audit(seen(0.015), NO_LABELS, 1000)


def test_labelled_images_do_not_count_in_the_uncertainty():
    doubtful = seen(0.015)
    doubtful.predictions.probabilities[:3000] = [1.0, 0.0]
    bought = Labelled(np.arange(3000), np.zeros(3000))
    assert rule().should_audit(doubtful, NO_LABELS, 300)
    doubtful.predictions.probabilities[3000:] = probabilities(0.04)[3000:]
    assert rule().should_audit(doubtful, NO_LABELS, 300) and not rule().should_audit(
        doubtful, bought, 900
    )


def test_an_audit_is_planned_at_the_highest_price():
    costs = np.where(np.arange(NUM_IMAGES) == 17, 500.0, 1.0)
    one = rule(budget=1000, costs=costs)  # two labels, if one is the expensive image
    assert not one.should_audit(seen(0.005), NO_LABELS, 900)
    assert not one.audit(jax.random.key(0), probabilities(0.005), NO_LABELS, 900, 0)[1]
    assert not one.audits and one.should_audit(
        seen(0.005), Labelled(np.array([17]), np.zeros(1)), 900
    )


def test_without_a_certificate_the_mean_confidence_decides():
    one = rule(confidence=0.0)
    assert one.should_audit(seen(0.08), NO_LABELS, 0) and one.target_reached_by_confidence(
        probabilities(0.08)
    )
    assert not one.should_audit(
        seen(0.2), NO_LABELS, 1000
    ) and not one.target_reached_by_confidence(probabilities(0.2))
    assert not rule().target_reached_by_confidence(probabilities(0.01))
    assert not rule(confidence=0.0, target=0.0).target_reached_by_confidence(probabilities(0.01))
    assert not one.audit(jax.random.key(0), probabilities(0.03), NO_LABELS, 900, 0)[1]
    one._oracle.ask(np.arange(60))
    summary = one.result_entries(0.923)
    assert (summary["labels_to_train"], summary["labels_to_certify"]) == (60, 0)
    assert summary["verdict"].startswith(
        "nothing certified (config.confidence=0): the model's mean"
    )
    assert summary["verdict"].endswith("confidence is 92.30%, the target was 90%")
    assert "verdict" not in rule(confidence=0.0, target=0.0).result_entries(0.9)


def test_a_failed_audit_corrects_the_overconfidence_and_keeps_its_labels():
    labels = wrong(0.12, seed=1)
    one, claims = rule(labels, budget=600), probabilities(0.03)
    before = Labelled(np.arange(100), one._oracle.ask(np.arange(100)))
    labelled, _ = one.audit(jax.random.key(0), claims, before, 900, 7)
    assert not one.certified and len(labelled.indices) == len(set(labelled.indices.tolist())) == 600
    np.testing.assert_array_equal(labelled.labels, labels[labelled.indices])
    summary = one.result_entries(0.97)
    assert (summary["labels_to_train"], summary["labels_to_certify"], summary["certified"]) == (
        100,
        500,
        0,
    )
    assert re.fullmatch(
        r"not certified: the last audit found an accuracy of 7\d\.\d\d% to 9\d\.\d\d%, "
        r"95% confidence",
        summary["verdict"],
    )
    times = (1 - one.audits[0].estimate) / stopping.mean_uncertainty(
        claims[100:]
    )  # the model is overconfident
    assert 3 < times < 6
    rich = rule(labels, budget=10**6)
    rich.audit(jax.random.key(0), claims, before, 500, 7)
    assert rich.should_audit(seen(0.09 / times), labelled, NUM_IMAGES)
    assert not rich.should_audit(seen(0.115 / times), labelled, NUM_IMAGES)


def test_an_audit_better_than_predicted_lowers_the_overconfidence():
    one = rule(wrong(0.13, seed=3), target=0.95)
    assert one.audit(jax.random.key(0), probabilities(0.25), NO_LABELS, 300, 0)[1]
    assert one.should_audit(seen(0.04), NO_LABELS, NUM_IMAGES)
    assert not rule(target=0.95).should_audit(seen(0.04), NO_LABELS, NUM_IMAGES)


def test_the_verdict_of_a_successful_audit_names_its_images():
    one = rule(wrong(0.02, seed=2))
    labelled, _ = one.audit(jax.random.key(1), probabilities(0.03), NO_LABELS, 900, 0)
    summary = one.result_entries(0.97)
    assert (
        one.certified
        and summary["labels_to_certify"] == len(labelled.indices)
        and summary["certified"] == 1.0
        and summary["certified_of"] == "the pool"
    )
    assert 0.9 <= summary["certified_low"] <= 0.98 <= summary["certified_high"]
    shown = re.fullmatch(
        r"certified: at least (9\d\.\d\d)% of the images that were not labelled for training are "
        r"classified correctly, 95% confidence",
        summary["verdict"],
    )
    assert 0 <= 100 * summary["certified_low"] - float(shown[1]) < 0.01  # never rounded up


def test_all_audits_together_keep_the_error_probability(monkeypatch):
    asked = []

    def audit(*arguments, **settings):
        asked.append(1 - settings["confidence"])
        return real(*arguments, **settings)

    real = stopping.audit
    monkeypatch.setattr(stopping, "audit", audit)
    log = Memory()
    for start in range(3):  # the second goes on to the same networks, the third to others
        one = rule(wrong(0.3), budget=10**6, log=log)
        for number in range(3):
            claims = probabilities(0.1, seed=number + (100 if start == 2 else 0))
            assert one.audit(jax.random.key(number), claims, NO_LABELS, 200, number)[1]
    once = 0.05 * 0.75 * 0.25 ** np.arange(6)
    np.testing.assert_allclose(asked, np.concatenate([once[:3], once[:3], once[3:]]), rtol=1e-6)
    assert once.sum() < 0.05


def test_an_audit_draws_no_copy_of_a_labelled_image(monkeypatch):
    one = rule(budget=10**6)
    half = NUM_IMAGES // 2  # the second half of the images are copies of the first half
    monkeypatch.setattr(one._oracle, "first_copies", lambda indices: indices % half, raising=True)
    bought = np.arange(half - 300)
    labelled, audited = one.audit(
        jax.random.key(0), probabilities(0.01), Labelled(bought, 0 * bought), 900, 0
    )
    drawn = labelled.indices[len(bought) :]
    assert audited and len(drawn) and (drawn % half >= half - 300).all()
    assert not one.audit(jax.random.key(0), probabilities(0.01),
                         Labelled(np.arange(half), np.zeros(half, int)), 900, 1)[1]  # fmt: skip
    assert not one.should_audit(seen(0.01), Labelled(np.arange(half), np.zeros(half, int)), 900)


def test_the_number_of_audits_is_limited():
    one, count = rule(wrong(0.3), budget=10**6), 0
    while one.audit(jax.random.key(count), probabilities(0.1, count), NO_LABELS, 900, count)[1]:
        count += 1
    assert count == stopping.MAX_AUDITS


@pytest.mark.parametrize("labelled", [NO_LABELS.indices, np.arange(NUM_IMAGES)])
def test_there_is_no_audit_if_all_images_are_labelled(labelled):
    one = rule(budget=10**6)
    _, audited = one.audit(
        jax.random.key(0), probabilities(0.03), Labelled(labelled, 0 * labelled), 900, 0
    )
    assert audited == (len(labelled) < NUM_IMAGES)
    assert one.should_audit(seen(0.03), Labelled(labelled, 0 * labelled), 900) == (
        len(labelled) == 0
    )


def test_a_target_that_no_audit_could_certify_raises_an_error_at_the_start():
    log = Memory()
    log.said = []
    log.say = log.said.append
    rule(target=0.0).check(1, 1, 0)
    rule(target=0.99, confidence=0.0).check(1, 1, 0)
    rule(target=0.9, log=log).check(200, 40, 100)
    assert not log.said
    rule(target=0.97, log=log).check(200, 40, 100)
    assert "takes 118 labels to certify" in log.said[0] and "keeps 100 for it" in log.said[0]
    with pytest.raises(UsageError, match=r"takes 118 labels.* after the first 40 .* buys 60: "):
        rule(target=0.97).check(100, 40, 50)
