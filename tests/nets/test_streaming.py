"""Tests that training takes the same mini-batches if the images do not fit the device."""

import itertools
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from logs import TrainingMemory

from jaxlabel import augment, data, gan, nets, pretext, scan, semisupervised, train
from jaxlabel.errors import Diverged, UsageError
from jaxlabel.gan.settings import Settings as GanSettings
from jaxlabel.log import NullLog
from jaxlabel.methods import representatives
from jaxlabel.methods.semisup import Config
from jaxlabel.nets import devices, streaming
from jaxlabel.pretext.autoencoder import denoising_loss
from jaxlabel.semisupervised.pretraining import contrastive_settings
from jaxlabel.semisupervised.setup import initial_state

IMAGES = data.load("digits").train_images[:300]
KEY = jax.random.key(0)


@pytest.fixture
def small_device(monkeypatch):
    """Make the device's memory too small for the images."""
    monkeypatch.setattr(devices, "memory", lambda: IMAGES.nbytes)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "pixels.npy"
    np.save(path, IMAGES)
    return path


def semisup_task(images):
    config = Config(network="dense", width=8, steps=20, batch_size=4, mu=2, kind="digits")
    known, targets = np.arange(10), np.eye(10)[np.arange(len(images)) % 10]
    arrays = semisupervised.pad(images, known, known, len(images), targets, np.full(10, 0.1))
    step = semisupervised.make_step(config, semisupervised.views_of("digits"))
    return step, initial_state(config, images, 10, KEY), arrays


def contrastive_task(images):
    settings = contrastive_settings("dense", 8, 20, batch_size=8)
    optimizer = pretext.make_optimizer(settings)
    model = train.init(pretext.make_projected(settings, images.shape[1:]), KEY)
    step = pretext.contrastive_step(settings, "digits", optimizer)
    return step, train.State(model, optimizer.init(model)), images


def scan_task(images):
    optimizer = optax.sgd(0.1)
    step = scan.clustering_step(
        augment.weak("digits"), optimizer, entropy_weight=2.0, prior=None, batch_size=6
    )
    model = train.init(
        lambda rngs: scan.Heads(nets.make_encoder("dense", (8, 8, 1), rngs, 8), 2, 5, rngs), KEY
    )
    neighbours = np.random.default_rng(0).integers(len(images), size=(len(images), 3))
    return step, train.State(model, optimizer.init(model)), (images, neighbours)


def gan_task(images):
    settings = GanSettings(steps=20, batch_size=6, labelled_batch=4, width=8, snapshots=2)
    known = np.arange(6)
    latents = jax.random.normal(KEY, (gan.SHOWN, settings.latent))
    arrays = gan.pad(images, known, known % 3, 8, latents)
    start = gan.start(settings, images.shape[1:], 3, KEY)
    return gan.make_step(settings, "digits"), start, arrays


def trained(task, images, log=None, num_steps=20):
    step, state, arrays = task(images)
    return train.loop(
        step, state, arrays, jax.random.key(3), log or NullLog(), name="a", num_steps=num_steps,
        steps_per_call=7,
    )  # fmt: skip


def assert_equal(one, other):
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("task", [semisup_task, contrastive_task, scan_task, gan_task])
def test_a_training_from_a_file_gives_the_same_weights(task, file, monkeypatch):
    log, other = TrainingMemory(), TrainingMemory()
    expected = trained(task, IMAGES, log)
    monkeypatch.setattr(devices, "memory", lambda: IMAGES.nbytes)
    held = []
    whole = jnp.asarray
    monkeypatch.setattr(
        jnp, "asarray", lambda leaf, *rest: held.append(np.size(leaf)) or whole(leaf, *rest)
    )
    images = np.load(file, mmap_mode="r")
    found = trained(task, images, other)
    assert_equal(found, expected)
    assert other.records == log.records
    assert max(held) < images.size / 2


def test_fit_takes_the_same_batches_from_the_host(small_device, monkeypatch):
    def fitted():
        model = train.init(lambda rngs: nets.DenseAutoencoder((8, 8, 1), 4, rngs, (8,)), KEY)
        return train.fit(
            denoising_loss(None), model, IMAGES, KEY, NullLog(), name="a", num_steps=12,
            batch_size=9, optimizer=optax.adam(0.01),
        )  # fmt: skip

    found = fitted()
    monkeypatch.undo()
    assert_equal(found, fitted())


def test_a_streamed_training_that_was_killed_ends_with_the_same_weights(small_device):
    class Killed(TrainingMemory):
        def save(self, name, step, tree):
            super().save(name, step, tree)
            raise KeyboardInterrupt

    step, state, arrays = semisup_task(IMAGES)
    log = Killed()
    flags = {"name": "a", "num_steps": 130, "steps_per_call": 65, "seconds_between_saves": 0.0}
    with pytest.raises(KeyboardInterrupt):
        train.loop(step, state, arrays, KEY, log, **flags)
    assert log.checkpoints["a"][0] == 65
    log.save = lambda *parts: None
    again = train.loop(step, state, arrays, KEY, log, **flags)
    assert_equal(again, train.loop(step, state, arrays, KEY, NullLog(), **flags))


def test_a_streamed_step_is_traced_once_for_each_of_its_programs(small_device):
    traces = []

    def step(state, images, key):
        traces.append(1)
        return state + train.draw(key, images, 5).sum(), {"loss": state}

    first = train.loop(step, jnp.float32(0), IMAGES, KEY, NullLog(), name="a", num_steps=250)
    assert len(traces) == 3  # the rows, the metrics' shapes, the step
    again = train.loop(step, jnp.float32(0), IMAGES, KEY, NullLog(), name="a", num_steps=250)
    assert len(traces) == 3 and first == again


def test_rows_that_depend_on_the_training_are_refused(small_device):
    def step(state, images, key):
        return state + 1, {"loss": images[state + jnp.arange(2)].mean()}

    with pytest.raises(RuntimeError, match="choose its rows by its random key and its data alone"):
        train.loop(step, jnp.int32(0), IMAGES, KEY, NullLog(), name="a", num_steps=3)


def test_a_step_on_a_gpu_reads_from_the_host_too(small_device, monkeypatch):
    monkeypatch.setenv(devices.ACT_AS, "gpu")
    name = train._advance(lambda *parts: parts, devices.mesh(), is_streaming=True).__name__
    assert name == "stepwise"


def test_parts_are_read_ahead_in_order_but_not_all_at_once():
    asked, names = [], set()

    def read(part):
        names.add(threading.current_thread().name.rpartition("_")[0])
        time.sleep(0.01 * (part % 3))
        return 10 * part

    def parts():
        for part in range(20):
            asked.append(part)
            yield part

    found = streaming.read_ahead(read, parts())
    assert list(itertools.islice(found, 3)) == [0, 10, 20]
    assert asked[-1] == 2 + streaming.AHEAD
    assert list(found) == [10 * part for part in range(3, 20)]
    assert names == {"read_ahead"}


def test_an_error_of_the_thread_that_reads_is_raised():
    def read(part):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(streaming.read_ahead(read, [1]))


def test_the_limit_is_half_of_the_device_s_memory(monkeypatch):
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 2 * IMAGES.nbytes}

    assert devices.memory() > 2**29  # the machine's
    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert devices.memory() == 2 * IMAGES.nbytes and devices.fits(IMAGES)
    monkeypatch.setattr(devices, "LARGEST", 0.49)
    assert not devices.fits(IMAGES)


def test_a_computation_with_all_pixels_is_refused_if_they_do_not_fit(small_device):
    with pytest.raises(UsageError, match=r"the pixels of all images, as float32, take 0.0 GB, mor"):
        representatives.clustering_features("pca", 4, IMAGES)


def diverge(images):
    def step(state, images, key):
        return state, {"loss": train.draw(key, images, 5).sum() * jnp.nan}

    train.loop(step, jnp.int32(0), images, KEY, NullLog(), name="a", num_steps=9, steps_per_call=2)


def fail(images):
    def function(model, images):
        raise Diverged("the network fails")

    train.apply_batched(function, jnp.zeros(3), images, batch_size=2)


@pytest.mark.parametrize("compute", [diverge, fail])
def test_no_thread_reads_on_after_an_error(compute, small_device):
    with pytest.raises(Diverged) as error:  # the error keeps all frames alive, as in a notebook
        compute(IMAGES)
    assert error.traceback
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("read_ahead")]


@pytest.mark.parametrize(
    ("group", "file", "limit"),
    [
        ("0::/job/step", "job/memory.max", "5000"),  # the group around the process's own one
        ("0::/", "memory.max", "5000"),
        ("4:cpu,memory:/outside", "memory/memory.limit_in_bytes", "5000"),
        ("0::/job", "job/memory.max", "max"),
        ("1:cpu:/job", "job/memory.max", "5000"),  # a group for something else
    ],
)
def test_a_container_s_limit_counts_as_the_memory_of_a_cpu(
    group, file, limit, tmp_path, monkeypatch
):
    monkeypatch.setattr(devices, "OWN_CONTAINERS", tmp_path / "own")
    monkeypatch.setattr(devices, "CONTAINERS", tmp_path)
    whole = devices.memory()
    (tmp_path / "own").write_text(f"7:pids:/\n{group}\n")
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(f"{limit}\n")
    assert whole > 2**29
    assert devices.memory() == (whole if limit == "max" or "1:cpu" in group else 5000)
