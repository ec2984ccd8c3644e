"""Config files, presets and settings on the command line."""

import dataclasses

import pytest

from jaxlabel.cli import settings
from jaxlabel.cli.arguments import Command
from jaxlabel.cli.catalogue import COMMANDS
from jaxlabel.config import PRESETS, validate
from jaxlabel.errors import UsageError
from jaxlabel.experiment.configfile import load

FILE = '''"""A config with presets."""
from jaxlabel.methods import clusters

SIZES = {"tiny": {"clusters": 3}, "cpu": {"clusters": 30}, "gpu": {"clusters": 300}}


def get_config(variant: str = "digits", preset: str = "cpu") -> clusters.Config:
    return clusters.Config(data=variant, **SIZES[preset])
'''
TRAIN = next(command for command in COMMANDS if command.name == "train")
COMMAND = Command("train", "", print, default_config="configs/digits.py")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "sizes.py").write_text(FILE)
    return tmp_path / "sizes.py"


def read(path, *arguments):
    return settings.read(COMMAND, [f"--config={path}", *arguments]).config


def test_a_preset_gives_defaults_that_flags_change(path):
    assert (read(path).preset, read(path).clusters) == ("cpu", 30)
    for form in (["--config.preset=tiny"], ["--config.preset", "tiny"]):
        config = read(path, *form)
        assert (config.preset, config.clusters, config.components) == ("tiny", 3, 64)
    for order in (["--config.clusters=5", "--config.preset=gpu"],
                  ["--config.preset=gpu", "--config.clusters=5"]):  # fmt: skip
        config = read(path, *order)
        assert (config.preset, config.clusters) == ("gpu", 5)


def test_unknown_presets_and_files_without_presets_are_one_line(path):
    with pytest.raises(UsageError, match="'huge': it takes one of tiny, cpu, gpu"):
        read(path, "--config.preset=huge")
    with pytest.raises(UsageError, match="has no presets"):
        read("configs/digits.py", "--config.preset=tiny")


@pytest.mark.parametrize("name", ["simclr", "scan", "sgan", "semisup", "flagship"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_variant_and_preset_is_valid(name, preset):
    places = {"digits": "digits", "overhead_mnist": "idx:overhead_mnist", "folder": "folder:images"}
    for variant in ("digits", "mnist", "fashion_mnist", "overhead_mnist", "cifar10", "folder"):
        config = load(f"configs/{name}.py", f":{variant}", preset)
        validate(config)
        assert config.preset == preset
        assert (config.budget == 0) == (name in ("simclr", "scan"))
        assert config.data == places.get(variant, f"tfds:{variant}")
        validate(dataclasses.replace(config, kind="objects"))
    with pytest.raises(UsageError, match="there is no variant 'nothing'"):
        load(f"configs/{name}.py", ":nothing", preset)


def test_a_setting_that_was_renamed_says_its_new_name(path):
    with pytest.raises(UsageError, match=r"config\.guide is now called config\.graph_targets"):
        read("configs/semisup.py", "--config.guide=0.5")
    with pytest.raises(UsageError, match=r"config\.scouts was removed: sequential queries are ask"):
        read("configs/flagship.py", "--config.scouts=5")
    with pytest.raises(UsageError, match=r"there is no setting config\.growth"):
        read("configs/scan.py", "--config.growth=2")
    with pytest.raises(UsageError, match=r"config\.pool was removed: a round chooses from 20,000"):
        read("configs/flagship.py", "--config.pool=5")
    with pytest.raises(UsageError, match=r"config\.first_query was removed: the first labels are"):
        read("configs/flagship.py", "--config.first_query=random")
    assert read("configs/semisup.py", "--config.space=graph").space == "graph"
    config = load("configs/semisup.py")
    config.alignment = "paid"
    with pytest.raises(UsageError, match="alignment=paid is now alignment=labelled"):
        validate(config)


def test_short_flags_change_their_settings_and_choose_the_config_file(path):
    words = [f"--config={path}", "--data=pictures", "--budget=30", "--workdir=w"]
    given = settings.read(TRAIN, words)
    assert (given.config.data, given.config.budget, given.workdir) == ("folder:pictures", 30, "w")
    assert given.config_name == "sizes"
    assert settings.read(TRAIN, [f"--config={path}", "--data=idx:x"]).config.data == "idx:x"
    assert settings.read(TRAIN, ["--data=digits"]).config_name == "flagship_folder"
    assert settings.read(TRAIN, []).config_name == "digits"
    with pytest.raises(UsageError, match="--budget=many: it takes a number of labels, or min"):
        settings.read(TRAIN, [f"--config={path}", "--budget=many"])
    with pytest.raises(UsageError, match="--target: this recipe has no such setting"):
        settings.read(TRAIN, [f"--config={path}", "--target=0.9"])
    timed = settings.read(TRAIN, [f"--config={path}", "--budget=30m"]).config
    assert (timed.budget, timed.minutes) == (float("inf"), 30)


def test_a_budget_in_minutes_has_no_limit_on_labels(path):
    for form in (["--config.budget=1h30m"], ["--config.budget", "1h30m"]):
        config = read(path, *form)
        assert (config.minutes, config.budget) == (90, float("inf"))
    config = read(path, "--config.budget=64", "--config.minutes=2")
    assert (config.minutes, config.budget) == (2, 64)
    for word in ("--config.budget=0m", "--budget=0s"):
        with pytest.raises(UsageError, match="more than 0 minutes"):
            settings.read(TRAIN, [f"--config={path}", word])
