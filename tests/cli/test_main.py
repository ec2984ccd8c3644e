"""The command line: a user's mistake is one line that says what to do, and exit code 2."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxlabel.cli import arguments, environment
from jaxlabel.cli import main as cli
from jaxlabel.cli.arguments import DEFAULT_CONFIG, HELP_WORDS, Command, Flag, help_text
from jaxlabel.cli.catalogue import COMMANDS
from jaxlabel.config import RunConfig
from jaxlabel.experiment import configfile
from jaxlabel.files import write_json

CONFIG = "--config=configs/digits.py"


def outcome(capsys, *arguments):
    code = cli.run(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian"], "no command 'trian' (did you mean train?)"),
        (["data"], "data is one of data info, data explore"),
        (["data", "info", "--data=digits", "--image_size=-3"], "--image_size is -3"),
        (["data", "info", "--data=digits", "--image_mode=gray"], "--image_mode is 'gray'"),
        (["train", CONFIG, "--config.budgt=3"], "no setting config.budgt (did you mean budget?)"),
        (
            ["train", "--config.budget=30M"],
            "--config.budget=30M: it takes a number of labels, or min",
        ),
        (
            ["train", "--budget=30M"],
            "--budget=30M: it takes a number of labels, or minutes such as",
        ),
        (["train", "--config.target=x"], "--config.target=x: it takes a number"),
        (["train", "--data=dgits"], "did you mean digits?"),
        (["data", "info", "--data=nowhere"], "folder:nowhere: there is no such folder"),
        (["data", "explore", "--data=nowhere"], "folder:nowhere: there is no such folder"),
        (["data", "info", "--data=digits", "--sheet=x.xyz"], "its name ends in .png"),
        (["train", "--config.seed=1.5"], "--config.seed=1.5: it takes a whole number"),
        (["train", "--config.seed=1e3"], "--config.seed=1e3: it takes a whole number"),
        (["label", "--port=http"], "--port=http: it takes a whole number"),
        (["train", "--config.noise=1.5"], "config.noise is 1.5: it takes a number from 0 to 1"),
        (["train", "--config.noise=nan"], "config.noise is nan"),
        (["train", "--config.budget=1e400"], "--config.budget=1e400: the number is too large; for"),
        (["train", "--budget=1e400"], "--budget=1e400: the number is too large; for no limit"),
        (["train", "--config.noise=-1e999"], "--config.noise=-1e999: the number is too large"),
        (["train", f"--budget={'9' * 400}m"], "9m: the time is too long"),
        (["train", "--config.budget=-1"], "config.budget is -1.0: it takes a number at least 0"),
        (["train", "--config.stop=never"], "config.stop is 'never': it takes one of estimate, pe"),
        (["train", "--config=configs/none.py"], "there is no config file configs/none.py"),
        (["train", "--config=configs/digits.py:x"], "there is no variant 'x'"),
        (["train", "--config=configs/mnist_medoids.py:x"], "there is no variant 'x'"),
        (["train", "--config"], "--config takes a file"),
        (["train", "--workdri=x"], "Unknown command line flag 'workdri'"),
        (["train", "--config.folder_labels=maybe"], "folder_labels=maybe: it takes true or false"),
        (["train", "digits"], "stray argument 'digits'"),
        (["train", "--num_processes=2"], "give all three, or --coordinator=auto alone"),
        (["train", "--process_id=0"], "need --coordinator=HOST:PORT"),
        (["train", "--coordinator=auto", "--process_id=1"], "need --coordinator=HOST:PORT"),
        (["report"], "--workdir=DIR is missing"),
        (["report", "--workdir=nowhere"], "nowhere is not a work directory"),
        (["ledger", "--workdir=nowhere"], "nowhere is not a work directory"),
        (["data", "info"], "--data=SPEC is missing"),
        (["data", "info", "--data=dgits"], "did you mean digits?"),
        (["data", "info", "--data=idx:nowhere"], "nowhere"),
        (["data", "prepare"], "--name=NAME is missing"),
        (["data", "prepare", "--name=nist"], "nist"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, arguments, says):
    code, out, err = outcome(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("jaxlabel: ") and err.count("\n") == 1
    assert says in err


def test_the_sign_of_the_home_directory_is_read_in_every_flag_with_a_path(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    for command in COMMANDS:
        flags = [flag for flag in command.flags if not isinstance(flag.default, int)]
        words = [f"--{flag.name}=~/{flag.metavar}" for flag in flags]
        given = arguments.read(command, words)
        for flag in flags:
            is_path = flag.metavar.partition(".")[0] in ("DIR", "FILE", "PATH")
            place = tmp_path if is_path else "~"
            assert getattr(given, flag.name) == f"{place}/{flag.metavar}"
    code, _, err = outcome(capsys, "report", "--workdir=~/run")
    assert code == 2 and f"{tmp_path}/run is not a work directory" in err
    code, _, err = outcome(capsys, "train", "--config=~/mine.py")
    assert code == 2 and f"{tmp_path}/mine.py" in err
    code, _, err = outcome(capsys, "report", "--workdir=~nobody-of-this-name/run")
    assert code == 2 and "no home directory for the sign ~: write the whole path" in err


def test_a_path_in_another_encoding_is_one_line(capsys, tmp_path):
    environment.settle_streams()  # `main` calls it
    workdir = tmp_path / os.fsdecode(b"caf\xe9")
    write_json(workdir / "config.json", {})
    write_json(workdir / "run.json", {"account": "a", "label_set": "digits", "store": ""})
    code, _, said = outcome(capsys, "ledger", f"--workdir={workdir}")
    assert code == 2 and said.count("\n") == 1
    assert "a name with bytes that are not UTF-8 cannot be used here: rename it" in said


def test_a_device_without_memory_is_one_line_and_other_errors_are_not_hidden(capsys, monkeypatch):
    def too_much(given):
        jax.block_until_ready(jnp.zeros(2**50, jnp.int8))

    def bug(given):
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli, "COMMANDS", (Command("report", "", too_much),))
    code, _, err = outcome(capsys, "report")
    assert code == 1 and err.count("\n") == 1
    assert "the device's memory is full: set smaller batches" in err
    monkeypatch.setattr(cli, "COMMANDS", (Command("report", "", bug),))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.run(["report"])


def test_the_error_names_the_line_of_a_broken_config_file(capsys, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("x = 1\ny = x / 0\n")
    code, _, err = outcome(capsys, "train", f"--config={path}")
    assert code == 2 and "ZeroDivisionError" in err and "line 2" in err


@pytest.mark.parametrize("word", ["--help", "-h", "-help", "help"])
def test_the_overview_lists_each_command_with_its_summary(capsys, word):
    assert outcome(capsys) == outcome(capsys, word) == (0, cli.overview() + "\n", "")
    assert outcome(capsys, "data", "--help") == outcome(capsys)
    for command in cli.COMMANDS:
        assert f"  {command.name} " in cli.overview() and command.summary in cli.overview()


@pytest.mark.parametrize("word", HELP_WORDS)
@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)
def test_help_of_each_command_explains_each_flag(capsys, command, word):
    code, out, err = outcome(capsys, *command.name.split(), "--nonsense", word)
    assert (code, err) == (0, "")
    assert out.startswith(f"jaxlabel {command.name}: {command.summary}\n")
    assert max(map(len, help_text(command).splitlines())) <= 100
    for flag in command.flags:
        form = f"--{flag.name}={flag.metavar}" if flag.metavar else f"--{flag.name}"
        assert out.count(form) >= 2  # in the usage line and in the list
        assert flag.help.split()[0] in out
    assert ("\n  --config.budget=" in out) == bool(command.default_config)


def test_the_usage_text_is_made_of_the_flags():
    flags = (
        Flag("workdir", "the directory", "DIR", missing="choose one"),
        Flag("jobs", "the number of runs", "N", 3),
        Flag("quick", "a quick variant", default=False),
    )
    assert help_text(Command("sweep", "many runs", print, flags)).splitlines() == [
        "jaxlabel sweep: many runs",
        "",
        "usage: jaxlabel sweep --workdir=DIR [--jobs=N] [--quick]",
        "",
        "  --workdir=DIR  the directory",
        "  --jobs=N       the number of runs (default: 3)",
        "  --quick        a quick variant",
    ]


def test_help_with_a_config_lists_the_settings_of_its_recipe(capsys):
    _, out, _ = outcome(capsys, "train", "--config=configs/mnist_medoids.py:peek", "--help")
    assert "--config.stop=peek" in out and "(estimate, peek)" in out


@pytest.mark.parametrize("words", [["label"], ["train", "--data=folder:p"]], ids=" ".join)
def test_help_shows_the_values_of_the_config_file_that_the_command_would_use(capsys, words):
    _, out, _ = outcome(capsys, *words, "--help")
    assert "--config.image_size=32 " in out and "--config.budget=200 " in out
    assert "selects configs/flagship.py:folder" in " ".join(out.split())


def test_the_default_config_has_the_values_that_help_shows_without_jax():
    config = configfile.load(configfile.find(DEFAULT_CONFIG))
    for field in dataclasses.fields(RunConfig):
        assert getattr(config, field.name) == getattr(RunConfig(), field.name)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["sweep", "--help"]])
def test_help_starts_without_jax(arguments):
    began = time.monotonic()
    script = f"import sys; from jaxlabel.cli import main; main.run({arguments!r}); " \
             "sys.exit('jax' in sys.modules)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: jaxlabel" in done.stdout
    assert time.monotonic() - began < 20


def test_the_version(capsys):
    assert outcome(capsys, "--version")[1].startswith("jaxlabel 0.")


def test_data_info_of_the_digits(capsys, tmp_path):
    sheet = tmp_path / "sheet.png"
    code, out, _ = outcome(capsys, "data", "info", "--data=digits", f"--sheet={sheet}")
    assert code == 0 and "1,297" in out and "500" in out
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_the_sheet_of_samples_is_not_written_into_its_image_folder(capsys, tmp_path, monkeypatch):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a.png")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code, out, _ = outcome(capsys, "data", "info", "--data=folder:.")
    assert code == 0 and str(tmp_path / "pictures_samples.png") in out
    assert [path.name for path in folder.iterdir()] == ["a.png"]


def test_scripts_train_is_the_same_command():
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    done = subprocess.run(
        [sys.executable, str(script), "--config.sede=1"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "jaxlabel: there is no setting config.sede (did you mean seed?)\n"


def test_a_directory_of_another_configuration_is_refused(capsys, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"seed": 7}))
    (tmp_path / "run.json").write_text("{}")
    code, _, err = outcome(capsys, "train", f"--workdir={tmp_path}")
    assert code == 2 and "another configuration" in err
