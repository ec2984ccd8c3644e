import dataclasses
import sqlite3
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxlabel import cache, data, pretext, train
from jaxlabel.errors import UsageError
from jaxlabel.experiment import predict as prediction
from jaxlabel.experiment import run as experiment
from jaxlabel.log import NullLog
from jaxlabel.methods import simclr
from jaxlabel.methods.simclr import Config
from jaxlabel.report import evaluate

DIGITS = data.load("digits")
LABELS = data.load_train_labels("digits")
QUICK = Config(
    kind="digits", encoder="dense", width=8, pretext_steps=60, pretext_batch=64, projection=16,
    budget=0,
)  # fmt: skip


def knn_on_train(features):
    """Without the test set: the first 300 training images among the others."""
    return evaluate.knn_accuracy(features[300:], LABELS[300:], features[:300], LABELS[:300])


def test_a_run_returns_features_and_only_the_evaluator_reads_labels(tmp_path):
    result = experiment.run(QUICK, tmp_path)
    assert result["labels_spent"] == 0 and result["test_accuracy"] is None
    assert result["knn_accuracy"] > 0.9 and result["knn_weighted_accuracy"] > 0.9
    assert "all training labels" in result["labels_read_by_the_evaluator"]
    assert "the evaluator read all" in experiment.summary(result, tmp_path)
    with pytest.raises(UsageError, match="no classes"):
        prediction.predict(tmp_path, "digits", tmp_path / "out.csv")


class Watch(NullLog):
    """Which trainings took steps."""

    def __init__(self):
        self.phases = set()

    def scalars(self, phase, step, values):
        self.phases.add(phase)


def test_encoders_of_several_seeds_are_trained_together_and_found_in_the_cache(
    tmp_path, monkeypatch
):
    def derive(key):  # a function that no method has: a fixed one gives other encoders
        return jax.random.fold_in(key, 7)

    def encoder(seed, log, **changes):
        config = dataclasses.replace(QUICK, pretext_steps=20, seed=seed, **changes)
        key = derive(jax.random.key(seed))
        return simclr.pretrain(config, DIGITS.train_images, key, log, derive)

    def leaves(model):
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(model)])

    alone = [leaves(encoder(seed, NullLog())) for seed in (4, 5, 6)]
    monkeypatch.setenv("JAXLABEL_CACHE", str(tmp_path))
    cache.begin("")
    watch = Watch()
    encoder(5, watch)
    assert watch.phases == {"contrastive"}
    cache.begin("")
    began = time.monotonic()
    first = leaves(encoder(4, watch, pretext_seeds=3))
    took = time.monotonic() - began
    assert len(watch.phases) == 2 and "contrastive_2" in str(watch.phases)  # 5 was there
    later = Watch()
    found = [first, *(leaves(encoder(seed, later)) for seed in (5, 6))]
    assert not later.phases
    assert 0 < cache.take_saved_seconds() < 2 * took  # its own, and half of what two took together
    encoder(4, later, pretext_seeds=5)  # its own is there: it trains none for others
    assert not later.phases
    np.testing.assert_allclose(found, alone, atol=1e-4)
    assert np.abs(alone[0] - alone[1]).max() > 0.01


def test_an_interrupted_training_of_several_encoders_resumes_exactly(tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    class Log(NullLog):
        kept = None

        def save(self, name, step, tree):
            self.kept = step, jax.tree.map(np.asarray, tree)

        def restore(self, name, like):
            return self.kept

        def scalars(self, phase, step, values):
            if step == 200 and not resumed:
                raise Killed

    def encode(log):
        config = dataclasses.replace(QUICK, pretext_steps=201, pretext_batch=8, pretext_seeds=2)
        return simclr.pretrain(config, DIGITS.train_images, jax.random.key(0), log)

    monkeypatch.setattr(train, "loop", partial(train.loop, seconds_between_saves=0.0))
    monkeypatch.setenv("JAXLABEL_CACHE", str(tmp_path / "whole"))
    resumed = True
    whole = encode(NullLog())
    monkeypatch.setenv("JAXLABEL_CACHE", str(tmp_path / "killed"))
    resumed, log = False, Log()
    with pytest.raises(Killed):
        encode(log)
    resumed = True
    assert log.kept is not None and log.kept[0] == 100
    for one, other in zip(*map(jax.tree.leaves, (whole, encode(log))), strict=True):
        np.testing.assert_array_equal(one, other)


def test_encoders_of_other_seeds_need_a_cache(monkeypatch):
    monkeypatch.delenv("JAXLABEL_CACHE", raising=False)
    config = dataclasses.replace(QUICK, pretext_seeds=2)
    with pytest.raises(UsageError, match="set JAXLABEL_CACHE=DIR"):
        simclr.pretrain(config, DIGITS.train_images, jax.random.key(0), NullLog())


@pytest.mark.parametrize("optimizer", pretext.OPTIMIZERS)
def test_training_improves_the_encoders_features(optimizer):
    rate = {"adamw": 3e-3, "sgd": 0.3}[optimizer]
    config = dataclasses.replace(
        QUICK, optimizer=optimizer, pretext_rate=rate, width=2, pretext_steps=150
    )
    losses = []

    class Log(NullLog):
        def scalars(self, phase, step, values):
            losses.append(values["loss"])

    key = jax.random.key(0)
    encoder = simclr.pretrain(config, DIGITS.train_images, key, Log())
    start = train.init(
        pretext.make_projected(simclr.pretext_settings(config), (8, 8, 1)), jax.random.split(key)[0]
    )
    before, after = (
        pretext.features_of(e, DIGITS.train_images) for e in (start.encoder, encoder)
    )  # fmt: skip
    assert losses[-1] < losses[0]
    assert knn_on_train(after) > knn_on_train(before)


def test_an_image_is_not_contrasted_with_itself():
    settings = simclr.pretext_settings(dataclasses.replace(QUICK, pretext_batch=32))
    optimizer = pretext.make_optimizer(settings)
    start = train.init(pretext.make_projected(settings, (8, 8, 1)), jax.random.key(0))
    step = jax.jit(pretext.contrastive_step(settings, "digits", optimizer))
    state = train.State(start, optimizer.init(start))
    one_image = jnp.asarray(DIGITS.train_images[:1])
    loss = step(state, one_image, jax.random.key(1))[1]["loss"]
    np.testing.assert_allclose(loss, 0.0, atol=1e-5)  # 32 pairs of one image


def test_a_representation_has_unit_length_and_the_configured_shares():
    class Same:
        num_features = 64

        def features(self, images):
            return images.reshape(len(images), -1)

    images = DIGITS.train_images[:200]
    model = pretext.Representation(Same(), (8, 8, 1), 10, 0.3, "pixels")
    made = np.asarray(model.features(jax.random.uniform(jax.random.key(0), (9, 8, 8, 1))))
    assert made.shape == (9, 74)
    model.components[...] = jnp.eye(64)[:10]
    made = np.asarray(model.features(jnp.asarray(images) / 255.0))
    np.testing.assert_allclose(np.sum(made[:, :64] ** 2, axis=1), 0.7, rtol=1e-4)
    lit = images.reshape(200, -1)[:, :10].any(axis=1)
    np.testing.assert_allclose(np.sum(made[lit, 64:] ** 2, axis=1), 0.3, rtol=1e-4)


def test_an_interrupted_run_draws_the_same_views():
    class Killed(Exception):
        pass

    class Log(NullLog):
        saved = None

        def save(self, name, step, tree):
            Log.saved = (step, tree)
            if step == 100:
                raise Killed

        def restore(self, name, like):
            return Log.saved

    config = dataclasses.replace(QUICK, pretext_steps=102, pretext_batch=8, width=2)
    args = (DIGITS.train_images, jax.random.key(0))
    whole = simclr.pretrain(config, *args, NullLog())
    settings = simclr.pretext_settings(config)
    optimizer = pretext.make_optimizer(settings)
    start = train.init(pretext.make_projected(settings, (8, 8, 1)), jax.random.split(args[1])[0])
    with pytest.raises(Killed):
        train.loop(
            pretext.contrastive_step(settings, "digits", optimizer),
            train.State(start, optimizer.init(start)),
            DIGITS.train_images,
            jax.random.split(args[1])[1], Log(), name="contrastive", num_steps=102,
            seconds_between_saves=0,
        )  # fmt: skip
    resumed = simclr.pretrain(config, *args, Log())
    for one, two in zip(*map(jax.tree.leaves, (whole, resumed)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_evaluator_reads_labels_that_the_store_lacks_from_the_data(tmp_path):
    """With a table of labels, the store has those alone that the run bought."""
    database = sqlite3.connect(tmp_path / "l.db")
    with database:
        database.execute("CREATE TABLE t (k INTEGER, y TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", enumerate(map(str, LABELS)))
    database.close()
    url = f"sqlite:///{tmp_path / 'l.db'}?table=t&id=k&label=y&match=number"
    config = dataclasses.replace(QUICK, data="digits", labels=url)
    assert experiment.run(config, tmp_path / "run")["knn_accuracy"] > 0.9


def test_the_evaluator_counts_classes_as_the_label_store_does(tmp_path):
    """The store knows the classes in another order, and the pictures are reordered meanwhile."""
    digits, labels = data.load("digits"), data.load_train_labels("digits")
    for folder, kinds in (("a", [7, 9]), ("b", [1, 7, 9])):
        (tmp_path / folder).mkdir()
        rows = np.flatnonzero(np.isin(labels, kinds))[:180]
        for number, row in enumerate(rows):
            part = tmp_path / folder / "shop" / ("test" if number >= 120 else "train")
            file = part / str(labels[row]) / f"{number:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(digits.train_images[row, ..., 0]).save(file)
    config = dataclasses.replace(QUICK, pretext_steps=0, folder_labels=True,
                                 store=f"sqlite:///{tmp_path}/s.db")  # fmt: skip
    found = {
        folder: experiment.run(
            dataclasses.replace(config, data=f"folder:{tmp_path / folder / 'shop'}"),
            tmp_path / f"run_{folder}",
        )
        for folder in "ab"
    }
    assert found["b"]["classes"] == ["7", "9", "1"]
    assert found["b"]["knn_accuracy"] > 0.8
    (tmp_path / "run_b" / "result.json").unlink()
    train = tmp_path / "b" / "shop" / "train"
    for file in sorted(train.rglob("*.png")):  # the same pictures in the reverse order
        file.rename(file.with_name(f"{999 - int(file.stem)}.png"))
    again = experiment.run(
        dataclasses.replace(config, data=f"folder:{tmp_path / 'b' / 'shop'}"), tmp_path / "run_b"
    )
    assert again["knn_accuracy"] == found["b"]["knn_accuracy"]
