"""The most accurate image classifier for the fewest label queries, from scratch, on JAX.

    import jaxlabel

    result = jaxlabel.fit(images, ask, budget=100)     # ask: indices -> labels
    result.predict(new_images)

`fit` trains in one call, `Session` asks and is told, `load` reads a finished run. The scikit-learn
classifier is `jaxlabel.sklearn.FewLabelClassifier`. Importing jaxlabel imports nothing else: JAX is
imported when one of these names is first used, and a module such as `jaxlabel.data` likewise.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxlabel.api.fitting import fit
    from jaxlabel.api.query_strategy import QueryStrategy
    from jaxlabel.api.result import Certificate, Result, load
    from jaxlabel.api.session import Session
    from jaxlabel.errors import (
        BudgetExceeded,
        DataError,
        JaxlabelError,
        LabelsMissing,
        StoreError,
        UsageError,
    )
    from jaxlabel.oracle import LabelStore, Oracle
    from jaxlabel.sklearn import FewLabelClassifier

__all__ = [
    "BudgetExceeded",
    "Certificate",
    "DataError",
    "FewLabelClassifier",
    "JaxlabelError",
    "LabelStore",
    "LabelsMissing",
    "Oracle",
    "QueryStrategy",
    "Result",
    "Session",
    "StoreError",
    "UsageError",
    "__version__",
    "fit",
    "load",
]

_MODULES = {
    "BudgetExceeded": "errors",
    "Certificate": "api.result",
    "DataError": "errors",
    "FewLabelClassifier": "sklearn",
    "JaxlabelError": "errors",
    "LabelStore": "oracle",
    "LabelsMissing": "errors",
    "Oracle": "oracle",
    "QueryStrategy": "api.query_strategy",
    "Result": "api.result",
    "Session": "api.session",
    "StoreError": "errors",
    "UsageError": "errors",
    "fit": "api.fitting",
    "load": "api.result",
}


_USES_JAX = {"FewLabelClassifier", "QueryStrategy", "Result", "Session", "fit", "load"}


def __getattr__(name: str) -> Any:
    """Import a name of `__all__`, or a module such as `jaxlabel.data`, when it is first used."""
    if name in _MODULES:
        if name in _USES_JAX:
            from jaxlabel.api.xla import settle_before_jax

            settle_before_jax()
        value = getattr(import_module(f"jaxlabel.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
    if not name.startswith("_"):
        try:
            return import_module(f"jaxlabel.{name}")
        except ModuleNotFoundError as error:
            # otherwise the module exists, but one that it needs does not
            if error.name != f"jaxlabel.{name}":
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names that `jaxlabel` offers, whether or not they were used yet."""
    return sorted({*globals(), *__all__})
