import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracles import ArrayOracle

from jaxlabel import data, gan, train
from jaxlabel.config import RunConfig
from jaxlabel.errors import UsageError
from jaxlabel.log import NullLog
from jaxlabel.methods import sgan
from jaxlabel.methods.sgan import Config
from jaxlabel.predictor import predict_probabilities
from jaxlabel.query import Labelled
from jaxlabel.runlog import open_workdir

DIGITS = data.load("digits")
LABELS = data.load_train_labels("digits")
TEST_LABELS = data.load_test_labels("digits")
QUICK = Config(
    budget=60, kind="digits", width=128, latent=16, steps=250, batch_size=64,
    discriminator_noise=0.2,
    labelled_batch=32, snapshots=2,
)  # fmt: skip
SMALL = dataclasses.replace(QUICK, budget=30, width=16, steps=6, batch_size=16, labelled_batch=8)


def run(config, labels=LABELS, log=None):
    oracle = ArrayOracle(labels, config.budget)
    key = jax.random.key(config.seed)
    return sgan.run(config, DIGITS.train_images, oracle, key, log or NullLog()), oracle


@pytest.fixture(scope="module")
def trained():
    return run(QUICK)


def test_it_learns_from_the_bought_labels(trained):
    predictor, oracle = trained
    assert len(oracle.asked) == 60
    guesses = predict_probabilities(predictor.model, DIGITS.test_images).argmax(axis=1)
    assert np.mean(guesses == TEST_LABELS) >= 0.7
    assert predictor.features.shape == (len(LABELS), 32)
    asked = sorted(oracle.asked)
    np.testing.assert_array_equal(predictor.train_labels[asked], LABELS[asked])


def test_the_training_images_get_the_classes_that_the_returned_model_predicts(trained):
    config = dataclasses.replace(QUICK, kind="clothes")  # clothes are mirrored
    images, average = DIGITS.train_images[:300], trained[0].model.members[0]
    state = gan.start(config, images.shape[1:], 10, jax.random.key(0))._replace(average=average)
    first = Labelled(np.array([5]), np.array([3]))
    predictor = sgan.make_predictor(config, images, state, first)
    expected = predict_probabilities(predictor.model, images).argmax(axis=1)
    assert np.mean(expected != predict_probabilities(average, images).argmax(axis=1)) > 0.1
    expected[5] = 3
    np.testing.assert_array_equal(predictor.train_labels, expected)
    features = train.apply_batched(train.features_of, average, images)
    np.testing.assert_allclose(predictor.features, features, atol=1e-5)


def test_the_summary_describes_the_generator(trained):
    summary = trained[0].summary
    assert 0 < summary["diversity"] < 2 and 0 < summary["class_entropy"] < 1.2
    assert isinstance(summary["verdict"], str) and len(summary["verdict"]) > 20


def test_it_can_be_reloaded(trained):
    make = sgan.make_classifier(QUICK, (8, 8, 1), 10)
    empty = jax.eval_shape(lambda: train.init(make, jax.random.key(1)))
    assert jax.tree.structure(empty) == jax.tree.structure(trained[0].model)


def test_an_uncertainty_query_runs_in_rounds_and_compiles_once(monkeypatch):
    config = dataclasses.replace(SMALL, query="margin", rounds=2)
    traces = []
    original = gan.objectives.discriminator_loss
    monkeypatch.setattr(
        gan.objectives, "discriminator_loss", lambda *a: traces.append(1) or original(*a)
    )
    _, oracle = run(config)
    assert len(oracle.asked) == 30
    assert len(traces) <= 2  # once for the metrics' shapes, once to compile


def test_the_conv_network_works_at_other_sizes():
    # compiling its gradients takes longer than a test should: shapes are enough here
    config = dataclasses.replace(SMALL, network="conv", width=8, kind="objects")
    images = np.random.default_rng(0).integers(0, 256, (40, 9, 7, 3), np.uint8)
    state = gan.start(config, (9, 7, 3), 3, jax.random.key(0))
    known = gan.pad(images, np.arange(6), np.arange(6) % 3, 8, jnp.zeros((64, 16)))
    step = gan.make_step(config, config.kind)
    after, metrics = jax.eval_shape(step, state, known, jax.random.key(0))
    assert [x.shape for x in jax.tree.leaves(after)] == [x.shape for x in jax.tree.leaves(state)]
    assert {"loss", "supervised", "real", "generated", "matching"} <= set(metrics)
    model = sgan.make_classifier(config, images.shape[1:], 3)(nnx.Rngs(0))
    shares = predict_probabilities(model, images)
    np.testing.assert_allclose(  # both sides are averaged
        shares, predict_probabilities(model, images[:, :, ::-1]), atol=1e-5
    )


def test_an_interrupted_run_ends_with_identical_weights(tmp_path):
    whole, _ = run(SMALL)

    class Stop(Exception):
        pass

    with pytest.raises(Stop), open_workdir(tmp_path, {}) as log:
        log.images = lambda *a: (_ for _ in ()).throw(Stop)
        run(SMALL, log=log)
    with open_workdir(tmp_path, {}) as log:
        again, _ = run(SMALL, log=log)
    for one, two in zip(*map(jax.tree.leaves, (whole.model, again.model)), strict=True):
        np.testing.assert_array_equal(one, two)
    assert whole.summary == again.summary
    with np.load(tmp_path / "artifacts" / "generated.npz") as arrays:
        assert arrays["images"].shape == (2, gan.SHOWN, 8, 8, 1)
        assert arrays["steps"].tolist() == [3, 6]
        assert arrays["images"][0].std() > 0


def test_labelled_draws_are_balanced_and_never_padding():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    # class 0 has three images, class 2 one; index 4 is not bought
    known = gan.pad(images, np.array([0, 1, 2, 3]), np.array([0, 0, 0, 2]), 64, jnp.zeros((1, 1)))
    rows, labels = gan.training.draw_labelled(jax.random.key(0), known, 6000)
    assert known.labelled.shape == (64,)
    counts = np.bincount(np.asarray(rows).ravel(), minlength=5)
    np.testing.assert_allclose(counts / 6000, [1 / 6, 1 / 6, 1 / 6, 1 / 2, 0], atol=0.02)
    np.testing.assert_array_equal(np.asarray(labels) == 2, np.asarray(rows).ravel() == 3)


def test_snapshots_end_with_the_run():
    assert gan.snapshot_steps(SMALL).tolist() == [3, 6]
    assert gan.snapshot_steps(dataclasses.replace(SMALL, steps=7)).tolist() == [4, 7]


def test_with_fewer_steps_than_snapshots_each_step_is_one_snapshot():
    config = dataclasses.replace(SMALL, steps=3, snapshots=20)
    assert gan.snapshot_steps(config).tolist() == [1, 2, 3]
    state = jax.eval_shape(lambda: gan.start(config, (8, 8, 1), 10, jax.random.key(0)))
    assert len(state.samples) == len(state.measures) == 3


def test_an_empty_budget_raises_an_error():
    with pytest.raises(UsageError, match="buys no label"):
        run(dataclasses.replace(QUICK, budget=0))


def test_no_network_setting_shadows_a_run_setting():
    names = [
        {field.name for field in dataclasses.fields(kind)} for kind in (RunConfig, gan.Settings)
    ]
    assert not names[0] & names[1]
