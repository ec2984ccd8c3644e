"""Configuration of the documentation: `python -m sphinx -W -b html docs build/docs`."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
# The tutorial's cells call the `jaxlabel` command and import the package: both of this checkout.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
os.environ["PYTHONPATH"] = f"{HERE.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jaxlabel  # noqa: E402

project = "jaxlabel"
author = "the jaxlabel authors"
copyright = f"2026, {author}"
version = release = jaxlabel.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docstrings",
    "experiment_pages",
    "sphinx_copybutton",
]
root_doc = "index"
exclude_patterns = ["_build", "**/__pycache__", "examples"]

myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.header",  # the published tables begin with a heading of their own
]

# Only docs/tutorial.md and docs/python.md hold cells that are executed, once per build.
nb_execution_mode = "force"
nb_execution_timeout = 240
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_execution_in_temp = True  # the runs of the tutorial leave nothing here

autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # NamedTuple fields are documented once

html_theme = "sphinx_book_theme"
html_title = f"jaxlabel {release}"
html_static_path: list[str] = []
html_show_sourcelink = False
html_theme_options = {
    "show_navbar_depth": 1,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
