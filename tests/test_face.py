"""`import jaxlabel`: quick, complete, and with nothing heavy in it."""

import subprocess
import sys

import pytest

import jaxlabel


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_imports_nothing_heavy():
    code = "import sys, jaxlabel; print(*sorted(name.split('.')[0] for name in sys.modules))"
    loaded = set(python(f"import sys; sys.path = {sys.path!r}; {code}").split())
    assert not loaded & {"jax", "numpy", "flax", "sklearn", "sqlalchemy", "tqdm", "jaxtyping"}


def test_importing_it_takes_less_than_the_bar():
    code = (
        f"import sys, time; sys.path = {sys.path!r}; began = time.perf_counter(); "
        "import jaxlabel; print(time.perf_counter() - began)"
    )
    assert min(float(python(code)) for _ in range(3)) < 0.3


@pytest.mark.parametrize("name", jaxlabel.__all__)
def test_every_name_is_there_and_explains_itself(name):
    assert name in dir(jaxlabel)
    assert getattr(jaxlabel, name).__doc__


def test_modules_are_there_after_importing_jaxlabel_alone():
    names = "jaxlabel.data.Options, jaxlabel.certificate.audit, jaxlabel.sklearn.FewLabelClassifier"
    printed = python(f"import sys; sys.path = {sys.path!r}; import jaxlabel; print({names})")
    assert all(name in printed for name in ("Options", "audit", "FewLabelClassifier"))


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        jaxlabel.fitt  # noqa: B018
