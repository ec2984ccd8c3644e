import dataclasses

import jax
import numpy as np
import pytest
from oracles import ArrayOracle, check_late_answers

from jaxlabel import data, train
from jaxlabel.errors import DataError, UsageError
from jaxlabel.log import NullLog
from jaxlabel.methods import encoder
from jaxlabel.methods.encoder import Config
from jaxlabel.predictor import predict_probabilities

DIGITS = data.load("digits")
LABELS = data.load_train_labels("digits")
TEST_LABELS = data.load_test_labels("digits")
QUICK = Config(budget=200, code=32, code_steps=100, steps=100, batch_size=64, kind="digits")


def run(config, labels=LABELS):
    oracle = ArrayOracle(labels, config.budget)
    key = jax.random.key(config.seed)
    return encoder.run(config, DIGITS.train_images, oracle, key, NullLog()), oracle


def remake(config):
    return encoder.make_classifier(config, (8, 8, 1), 10)


def accuracy(predictor):
    guesses = predict_probabilities(predictor.model, DIGITS.test_images).argmax(axis=1)
    return np.mean(guesses == TEST_LABELS)


def test_it_learns_from_the_bought_labels_and_can_be_reloaded():
    predictor, oracle = run(QUICK)
    assert len(oracle.asked) == 200
    assert accuracy(predictor) >= 0.75
    empty = jax.eval_shape(lambda: train.init(remake(QUICK), jax.random.key(1)))
    assert jax.tree.structure(empty) == jax.tree.structure(predictor.model)


def test_the_convolutional_encoder_runs():
    # its training takes longer than a test should: what it learns is in experiments/
    config = dataclasses.replace(QUICK, network="conv", width=8, code_steps=0, frozen=True)
    predictor, _ = run(config)
    empty = jax.eval_shape(lambda: train.init(remake(config), jax.random.key(1)))
    assert jax.tree.structure(empty) == jax.tree.structure(predictor.model)
    assert accuracy(predictor) > 0.5


def test_pretrained_codes_improve_logistic_regression():
    learned = dataclasses.replace(QUICK, budget=60, frozen=True, code_steps=300)
    untrained = dataclasses.replace(learned, code_steps=0, code=4)
    assert (
        accuracy(run(dataclasses.replace(learned, code=4))[0]) > accuracy(run(untrained)[0]) + 0.1
    )


def test_labels_that_were_not_bought_do_not_matter():
    config = dataclasses.replace(QUICK, frozen=True, code_steps=0, budget=50)
    predictor, oracle = run(config)
    hidden = np.array([i not in oracle.asked for i in range(len(LABELS))])
    other, _ = run(config, np.where(hidden, (LABELS + 3) % 10, LABELS))
    for one, two in zip(*map(jax.tree.leaves, (predictor.model, other.model)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_an_empty_budget_raises_an_error():
    with pytest.raises(UsageError, match="buys no label"):
        run(dataclasses.replace(QUICK, budget=0))


def test_without_any_label_no_network_is_trained(monkeypatch):
    def run_out(*args):  # people answer "not sure" in the meantime
        oracle.prices = np.full(len(LABELS), np.inf)
        return chosen_first(*args)

    oracle, chosen_first = ArrayOracle(LABELS, 9), encoder.query.chosen_first
    monkeypatch.setattr(encoder.query, "chosen_first", run_out)
    with pytest.raises(DataError, match="nobody could label any of the images"):
        encoder.run(QUICK, DIGITS.train_images, oracle, jax.random.key(0), NullLog())


def test_a_late_answer_about_an_image_that_nobody_could_label_changes_no_choice():
    config = dataclasses.replace(QUICK, frozen=True, code_steps=0, steps=2, budget=20)
    _, oracle = run(config)
    check_late_answers(encoder, config, DIGITS.train_images, LABELS, oracle.asked)
