"""A Sphinx extension that lets docstrings be plain text.

The code's docstrings are Google style with Markdown's single backticks, and hold formulas such as
`|p - q|^2`. Sphinx reads reStructuredText, in which `|`, `*` and a trailing `_` are markup. This
extension escapes them, turns `x` into ``x``, and indented examples into code blocks. Napoleon comes
after it.
"""

import re
from typing import Any

SECTIONS = ("Args:", "Returns:", "Raises:", "Yields:", "Attributes:", "Example:", "Note:")
CODE = re.compile(r"(``[^`]+``|`[^`]+`)")
MARKUP = re.compile(r"[\\*|]|_(?=\W|$)")


def plain(line: str) -> str:
    """Escape what reStructuredText would take for markup, and make `x` a literal."""
    parts = CODE.split(line)
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = f"``{part.strip('`')}``"
        else:
            parts[place] = MARKUP.sub(lambda match: f"\\{match[0]}", part).replace("`", "\\`")
    return "".join(parts)


def converted(lines: list[str]) -> list[str]:
    """Convert a docstring's lines, whose common indentation is already removed."""
    made: list[str] = []
    in_section, in_code = False, False
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent == 0:
            in_section, in_code = line.strip() in SECTIONS, False
        starts_block = number > 0 and not lines[number - 1].strip() and indent >= 4
        if starts_block and not in_section and not in_code and line.strip():
            in_code = True
            made += [".. code-block:: text", ""]
        made.append(line if in_code else plain(line))
    return made


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Convert a docstring in place (the event `autodoc-process-docstring`)."""
    lines[:] = converted(lines)


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Skip the fields of named tuples: the signature and the section Attributes have them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app: Any) -> dict[str, Any]:
    """Connect to autodoc, before napoleon."""
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
