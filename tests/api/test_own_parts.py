"""A query strategy, an objective, a network and an augmentation of a user's own."""

import dataclasses
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxlabel
from jaxlabel import augment, data, query
from jaxlabel.cache import digest
from jaxlabel.cli import main as cli
from jaxlabel.config import OWN, own_part, own_sources, validate
from jaxlabel.errors import UsageError
from jaxlabel.experiment import predict
from jaxlabel.experiment.run import METHODS
from jaxlabel.methods import semisup, simclr
from jaxlabel.pretext import contrastive
from jaxlabel.runlog import open_workdir, own_code

EXAMPLE = Path(jaxlabel.__file__).parents[1] / "docs" / "examples" / "own_parts.py"
PARTS = {"query": "evenly_spread", "objective": "entropy", "network": "TwoLayers",
         "kind": "upside_down"}  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    shutil.copy(EXAMPLE, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_of_each_trains_from_the_command_line_and_predicts(here, capsys):
    flags = [f"--config.{name}=own_parts:{part}" for name, part in PARTS.items()]
    code = cli.run(["train", "--config=configs/semisup.py:digits", "--config.preset=tiny", *flags,
                    "--config.steps=150", "--config.width=8",
                    "--config.budget=40", "--workdir=run"])  # fmt: skip
    assert code == 0, capsys.readouterr().err
    result = jaxlabel.load(here / "run")
    images = data.load("digits").train_images
    points = np.asarray(semisup.compute_spaces(
        semisup.Config(query="medoids"), ("medoids",), 40, images, jax.random.key(0), _quiet()
    ).query)  # fmt: skip
    own = own_part("own_parts:evenly_spread")
    expected = own(None, points, 40, np.zeros(0, int))
    labels = data.load_train_labels("digits")
    assert (result.train_labels[expected] == labels[expected].astype(str)).all()  # they were bought
    assert type(predict.load(here / "run").model.members[0].encoder).__name__ == "TwoLayers"
    assert result.record["test_accuracy"] > 0.3


def _quiet():
    from jaxlabel.log import NullLog

    return NullLog()


@pytest.mark.parametrize(
    ("returned", "words"),
    [("np.arange(9) == 7", "a bool array of shape (9,)"), ("[3.7, 5.2]", "a float64 array"),
     ("[[1, 2]]", "shape (1, 2)"), ("[-1, 2, 3]", "from -1 to 3"), ("[2, 9, 1]", "from 1 to 9"),
     ("[5, 6]", "only 2 indices"), ("[]", "only 0 indices"), ("[5, 6, 5]", "the index 5 2 times"),
     ("[5, 6, 4]", "the index 4 of a row that is labelled already")],
)  # fmt: skip
def test_an_own_query_strategy_that_returns_no_indices_is_refused(
    here, monkeypatch, returned, words
):
    (here / "odd.py").write_text(
        f"import numpy as np\ndef choose(key, features, count, asked): return {returned}\n"
    )
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    with pytest.raises(UsageError, match="integers from 0 to 8") as error:
        query.select("odd:choose", jax.random.key(0), np.zeros((9, 2)), 3, np.array([4]))
    assert "query strategy odd:choose returned" in str(error.value) and words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_own_kind_is_the_transform_of_every_view(here):
    images = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4, 1) / 32
    for make in (augment.weak, augment.strong, augment.contrastive):
        seen = np.asarray(make("own_parts:upside_down")(jax.random.key(3), images))
        assert seen.shape == images.shape
    weak = np.asarray(augment.weak("own_parts:upside_down")(jax.random.key(3), images))
    assert all(np.array_equal(a, b) or np.array_equal(a, b[::-1])
               for a, b in zip(weak, images, strict=True))  # fmt: skip


def test_an_encoder_in_the_cache_is_not_used_after_the_own_part_has_changed(here, monkeypatch):
    def key_of(content):
        (here / "turn.py").write_text(content)
        monkeypatch.delitem(sys.modules, "turn", raising=False)
        assert own_sources("digits", "turn:Net", 3) == [content.encode()]
        found = []

        def cached(name, parts, compute):
            found.append(digest(parts))
            raise LookupError

        monkeypatch.setattr(contrastive, "cached", cached)
        with pytest.raises(LookupError):
            simple = simclr.pretext_settings(simclr.Config(width=4))
            contrastive.contrastive_encoder(
                simple, "turn:Net", np.zeros((8, 8, 8, 1), np.uint8), jax.random.key(0), _quiet()
            )
        return found[0]

    before = "def Net(view):\n    return view\n"
    assert key_of(before) == key_of(before) != key_of(before.replace("view", "seen"))


def test_a_run_that_goes_on_with_an_edited_part_says_so_once(here, monkeypatch, capsys):
    settings = {"query": "turn:choose", "seed": 3}

    def open_with(content):
        (here / "turn.py").write_text(content)
        monkeypatch.delitem(sys.modules, "turn", raising=False)
        open_workdir(here / "run", settings).close()
        return capsys.readouterr().err.count(own_code.CHANGED), own_code.recorded(here / "run")

    first, edited = "def choose(): return 1\n", "def choose(): return 222\n"
    assert open_with(edited) == (0, own_code.digest_of(settings))
    assert open_with(first) == (0, own_code.digest_of(settings))  # it had bought nothing
    begun = own_code.recorded(here / "run")
    (here / "run" / "run.json").touch()
    assert open_with(first) == (0, begun)
    assert open_with(edited)[0] == 1 and open_with(edited)[0] == 0
    both = own_code.recorded(here / "run")
    assert both == f"{begun}+{own_code.digest_of(settings)}"
    assert not own_code.agrees(both, settings) and own_code.agrees(None, settings)
    own = {f.name for c in METHODS for f in dataclasses.fields(c) if f.metadata.get("own")}
    assert own == set(OWN)


def test_a_failure_in_an_own_part_is_one_line_on_the_command_line(here, monkeypatch, capsys):
    (here / "boom.py").write_text(
        "import jax\n"
        "class Net:\n"
        "    def features(self, images):\n"
        "        return images + (1 if images[0] > 0 else 2)\n"
        "def choose(key, features, count, asked):\n"
        "    return helper(features)\n"
        "def helper(features):\n"
        "    raise KeyError('x')\n"
    )
    calls = {
        "choose": lambda part: part(None, np.eye(3), 1, np.zeros(0, int)),
        "Net": lambda part: jax.jit(part().features)(np.ones(2)),
    }
    lines = ["boom:choose failed: KeyError('x') at line 8 of boom.py",
             "boom:Net failed: TracerBoolConversionError: "]  # fmt: skip
    for (name, call), line in zip(calls.items(), lines, strict=True):
        own = [own_part(f"boom:{each}") for each in ("Net", "choose")][name == "choose"]
        monkeypatch.setattr(cli, "_dispatch", lambda words, own=own, call=call: call(own))
        assert cli.run(["train"]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"jaxlabel: {line}") and error.count("\n") == 1
        assert error.endswith(("line 8 of boom.py\n", "line 4 of boom.py\n"))


def test_an_own_strategy_with_probabilities_needs_a_model(here):
    (here / "asks.py").write_text(
        "import numpy as np\n"
        "def least_sure(key, features, count, asked, probabilities):\n"
        "    order = np.argsort(np.asarray(probabilities).max(axis=1), kind='stable')\n"
        "    return order[~np.isin(order, asked)][:count]\n"
    )
    assert query.needs_model("asks:least_sure")
    assert not query.needs_model("own_parts:evenly_spread")
    shares = np.array([[0.9, 0.1], [0.5, 0.5], [0.6, 0.4], [0.7, 0.3]])
    found = query.select("asks:least_sure", jax.random.key(0), np.eye(4), 2, np.array([1]), shares)
    assert found.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere:part", "there is no module nowhere"),
        ("own_parts:evenly_spred", r"does not exist in own_parts \(did you mean evenly_spread\?\)"),
        ("own_parts:__doc__", "is not callable"),
        ("own_parts:", "is named module:function"),
        ("broken:part", "broken cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_part_that_is_not_there_is_one_clear_line(value, message, here):
    (here / "broken.py").write_text("1 / 0\n")
    with pytest.raises(UsageError, match=message) as raised:
        validate(semisup.Config(query=value))
    assert "\n" not in str(raised.value) and "config.query" in str(raised.value)
    with pytest.raises(UsageError, match="it takes one of"):
        validate(semisup.Config(space=value))
