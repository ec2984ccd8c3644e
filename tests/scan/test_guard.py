import numpy as np
import pytest

from jaxlabel import scan

# Six images: 0-2 in cluster 0, 3-5 in cluster 1; images 2 and 3 are not confident.
SHARES = np.array([[0.99, 0.01], [0.98, 0.02], [0.6, 0.4], [0.4, 0.6], [0.01, 0.99], [0.0, 1.0]])
NEIGHBOURS = np.array([[1, 2], [0, 2], [3, 4], [4, 5], [3, 5], [4, 3]])


def test_the_measures_are_counted_by_hand():
    guard = scan.measure(SHARES, NEIGHBOURS, 0.95)
    assert guard.entropy == pytest.approx(1.0) and guard.vanished == 0
    assert guard.confident == pytest.approx(4 / 6)
    assert guard.agreement == pytest.approx(5 / 6)
    np.testing.assert_array_equal(guard.sizes, [3, 3])
    np.testing.assert_allclose(guard.confident_by_cluster, [2 / 3, 2 / 3])
    np.testing.assert_allclose(guard.agreement_by_cluster, [2 / 3, 1.0])
    assert scan.advice(guard) == []


def test_the_entropy_measures_agreement_with_the_prior():
    shares = np.eye(3)[[0] * 80 + [1] * 15 + [2] * 5]
    neighbours = (np.arange(100)[:, None] + 1) % 100
    uniform = scan.measure(shares, neighbours, 0.9)
    assert uniform.vanished == 0 and uniform.entropy < 0.6
    given = scan.measure(shares, neighbours, 0.9, np.array([0.8, 0.15, 0.05]))
    assert given.entropy == pytest.approx(1.0)
    least = scan.measure(np.eye(3)[[2] * 100], neighbours, 0.9, np.array([0.8, 0.15, 0.05]))
    assert least.entropy == pytest.approx(0.0)
    one = scan.measure(np.eye(3)[[0] * 100], neighbours, 0.9)
    assert one.vanished == 2 and one.entropy == pytest.approx(0.0)


def test_with_the_uniform_prior_it_is_the_entropy_of_the_sizes():
    shares = np.array([0.5, 0.3, 0.2])
    guard = scan.measure(np.eye(3)[[0] * 5 + [1] * 3 + [2] * 2], np.zeros((10, 1), int), 0.9)
    assert guard.entropy == pytest.approx(-np.sum(shares * np.log(shares)) / np.log(3))


def test_a_step_away_from_the_prior_is_worse_and_one_towards_it_is_not():
    prior, neighbours = np.array([0.8, 0.2]), np.zeros((100, 1), int)
    found = [
        scan.measure(np.eye(2)[[0] * size + [1] * (100 - size)], neighbours, 0.9, prior)._replace(
            agreement=1.0
        )
        for size in (50, 65, 80, 95)
    ]
    even, nearer, at, beyond = found
    # KL of halves from 0.8, 0.2 is log 1.25, and -log 0.2 the largest there is
    assert even.entropy == pytest.approx(1 + np.log(1.25) / np.log(0.2), abs=1e-9)
    assert at.entropy == pytest.approx(1.0) and beyond.entropy < 1
    assert scan.reason_worse(even, nearer) == scan.reason_worse(nearer, at) == ""
    assert "entropy fell" in scan.reason_worse(at, even) and "entropy fell" in scan.reason_worse(
        at, beyond
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vanished": 1}, "config.entropy_weight"),
        ({"entropy": 0.5}, "config.prior"),
        ({"agreement": 0.5}, "config.pretext_steps"),
        ({"confident": 0.1}, "config.threshold"),
    ],
)
def test_each_problem_has_advice_and_is_reported_as_worse(change, words):
    good = scan.measure(np.eye(2)[[0, 0, 1, 1]], np.array([[1], [0], [3], [2]]), 0.9)
    bad = good._replace(**change)
    (warning,) = scan.advice(bad)
    assert words in warning
    assert scan.reason_worse(good, bad) and not scan.reason_worse(bad, good)
    assert scan.reason_worse(good, good) == ""
