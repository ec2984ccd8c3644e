"""Tests of a run that was interrupted in an audit and resumes, possibly with other networks."""

import jax
import numpy as np
import pytest
from logs import Memory
from stopping_rules import NUM_IMAGES, probabilities, rule, wrong

from jaxlabel import certificate
from jaxlabel.query import NO_LABELS


@pytest.fixture(autouse=True)
def batches_of_50(monkeypatch):
    monkeypatch.setattr(certificate, "MIN_BATCH", certificate.MAX_BATCH)


class Killed(Exception):
    pass


class Run:
    """Stopping rules of one run that is restarted several times, with one log and one account."""

    def __init__(self, budget=600):
        self.log, self.ledger, self.budget = Memory(), set(), budget
        self.costs = np.ones(NUM_IMAGES)

    def start(self):
        return rule(wrong(0.12), self.budget, self.costs, self.log, self.ledger)

    def audit(self, networks, batches=np.inf, most=500, number=3):
        """Audit the networks number `networks`; raise Killed after `batches` batches of queries."""
        one = self.start()
        ask = one._oracle.ask

        def asked(indices, **settings):
            nonlocal batches
            batches -= settings["purpose"] == "certify" and len(indices) > 0
            if batches < 0:
                raise Killed
            return ask(indices, **settings)

        one._oracle.ask = asked
        key = jax.random.key(0)
        return one, *one.audit(key, probabilities(0.1, seed=networks), NO_LABELS, most, number)

    def killed(self, networks, batches):
        with pytest.raises(Killed):
            self.audit(networks, batches)


def test_labels_of_an_abandoned_audit_are_used():
    run = Run()
    run.killed(1, batches=2)
    first = set(run.ledger)
    one, labelled, audited = run.audit(2)
    assert audited and len(first) == 100 and first < set(labelled.indices.tolist()) == run.ledger
    assert len(labelled.indices) == len(run.ledger) and one._oracle.spent == len(run.ledger)
    np.testing.assert_array_equal(labelled.labels, wrong(0.12)[labelled.indices])
    mine = set(one.audits[0].indices.tolist())
    assert not mine & first and len(mine) < len(run.ledger) - 100  # and the batch of the kill
    summary = one.result_entries(0.9)
    assert summary["labels_to_train"] == 0 and summary["labels_to_certify"] == len(labelled.indices)


def test_labels_of_an_abandoned_audit_are_used_without_a_new_audit():
    run = Run()
    run.killed(1, batches=2)
    first, one = set(run.ledger), run.start()
    assert one.audit_started(3) and not one.audit_started(2)
    assert len(one.add_abandoned_audits(NO_LABELS, 2).indices) == 0
    labelled = one.add_abandoned_audits(NO_LABELS, 3)
    assert first < set(labelled.indices.tolist()) == run.ledger and len(run.ledger) == 150
    assert one.add_abandoned_audits(labelled, 3) is labelled


def test_unchanged_networks_resume_their_audit():
    run = Run()
    run.killed(1, batches=2)
    first = set(run.ledger)
    one, labelled, _ = run.audit(1)
    assert first == set(one.audits[0].indices[:100].tolist())
    assert one.add_abandoned_audits(labelled, 3) is labelled
    undisturbed, _, _ = Run().audit(1)
    np.testing.assert_array_equal(undisturbed.audits[0].indices, one.audits[0].indices)


def test_a_late_answer_about_an_audited_image_changes_no_draw():
    run = Run()
    run.killed(1, batches=1)
    refused = sorted(run.ledger)[:10]
    run = Run()
    run.costs[refused] = np.inf  # nobody can label them
    run.killed(1, batches=3)
    paid_for = set(run.ledger)
    run.costs[refused] = 1.0  # now somebody has labelled them
    one, labelled, _ = run.audit(1)
    assert paid_for < run.ledger == set(labelled.indices.tolist()) and len(paid_for) == 140
    assert not run.ledger & set(refused) and set(refused) < set(one.audits[0].indices[:50].tolist())


def test_alternating_machines_lose_no_labels_and_draw_new_ones():
    run, paid_for = Run(budget=400), [0]
    # recalling an audit is one question, and brings the batch with it before which it was killed
    for networks, questions in ((1, 2), (2, 1 + 1), (1, 2 + 1)):
        run.killed(networks, questions)
        paid_for.append(len(run.ledger))
    assert paid_for == [0, 100, 200, 300]
    one, labelled, audited = run.audit(1)
    assert audited and len(labelled.indices) == len(set(labelled.indices.tolist()))
    assert run.ledger == set(labelled.indices.tolist()) == one._oracle.asked
    assert one._oracle.remaining == 400 - len(run.ledger) >= 0


def test_two_audits_of_a_round_do_not_share_their_draws():
    run = Run()
    run.killed(1, batches=1)
    first = sorted(run.ledger)
    one, _, _ = run.audit(2)
    pool = np.setdiff1d(np.arange(NUM_IMAGES), list(run.log.kept["drawn_by_audit_0"][1]))
    second = np.searchsorted(pool, one.audits[0].indices[:50])
    assert len(set(second) & set(first)) < 10  # by one stream of clocks it would be most
