"""Faults in a user's config file are one line that names the place."""

import pytest

from jaxlabel.errors import UsageError
from jaxlabel.experiment.configfile import load

RECIPE = "from jaxlabel.methods import active\n"


@pytest.mark.parametrize(
    ("text", "variant", "message"),
    [
        ("x = 1 +\n", "", r"cannot be run: invalid syntax at line 1 of"),
        ("x = '\0'\n", "", r"null bytes$"),
        ("x = nothing\n", "", r"NameError.* at line 1 of mine\.py"),
        ("x = 1\n", "", r"defines no get_config\(\)"),
        ("def get_config():\n    return {}['b']\n", "", r"KeyError\('b'\) at line 2 of mine\.py"),
        ("def get_config():\n    return 1 + 'a'\n", "", r"TypeError.* at line 2 of mine\.py"),
        ("def get_config():\n    raise RuntimeError('oh')\n", "", "RuntimeError.* at line 2"),
        ("def get_config():\n    return 1\n", ":a", "mine.py:a: the file has no variants"),
        ("def get_config(a, b):\n    return 1\n", "", "an argument that jaxlabel does not pass"),
        ("def get_config(v):\n    return {}[v]\n", ":a", "mine.py:a: the file has no such variant"),
        ("def get_config(v):\n    raise ValueError('no ' + v)\n", ":a", "mine.py:a: no a"),
        ("get_config = 5\n", "", "get_config is 5, not a function"),
        ("def get_config():\n    return 5\n", "", "returns 'int', not the Config of a recipe"),
        ("from jaxlabel.config import RunConfig as get_config\n", "", "returns 'RunConfig', not"),
        (f"{RECIPE}class Mine(active.Config): pass\nget_config = Mine\n", "", "returns 'Mine'"),
    ],
)  # fmt: skip
def test_a_faulty_config_file_is_one_line(text, variant, message, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=message) as raised:
        load(str(tmp_path / "mine.py"), variant)
    assert "\n" not in str(raised.value)


def test_a_config_file_without_variants_is_loaded(tmp_path):
    (tmp_path / "mine.py").write_text(f"{RECIPE}def get_config(): return active.Config(budget=7.0)")
    assert load(str(tmp_path / "mine.py")).budget == 7
