import numpy as np
import pytest

from jaxlabel import scan

# six images: 0-2 in cluster 0, 3-5 in cluster 1; 2 and 3 are not sure of it
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


def test_sizes_are_judged_by_the_prior():
    shares = np.eye(3)[[0] * 80 + [1] * 15 + [2] * 5]
    neighbours = (np.arange(100)[:, None] + 1) % 100
    uniform = scan.measure(shares, neighbours, 0.9)
    assert uniform.vanished == 0 and uniform.entropy < 0.6
    given = scan.measure(shares, neighbours, 0.9, np.array([0.8, 0.15, 0.05]))
    assert given.entropy == pytest.approx(1.0)
    one = scan.measure(np.eye(3)[[0] * 100], neighbours, 0.9)
    assert one.vanished == 2 and one.entropy == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vanished": 1}, "config.entropy_weight"),
        ({"entropy": 0.5}, "config.prior"),
        ({"agreement": 0.5}, "config.pretext_steps"),
        ({"confident": 0.1}, "config.threshold"),
    ],
)
def test_each_warning_says_what_to_change_and_each_step_back_is_named(change, words):
    good = scan.measure(np.eye(2)[[0, 0, 1, 1]], np.array([[1], [0], [3], [2]]), 0.9)
    bad = good._replace(**change)
    (warning,) = scan.advice(bad)
    assert words in warning
    assert scan.worse(good, bad) and not scan.worse(bad, good)
    assert scan.worse(good, good) == ""
