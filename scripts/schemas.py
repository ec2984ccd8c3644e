"""Write the JSON Schema of config.json from the settings that the recipes have.

    python scripts/schemas.py

Run it after a setting was added, renamed or given other limits. `tests/experiment/test_formats.py`
checks that jaxlabel/runlog/schemas/config.schema.json is current. The other schemas in that folder
are written by hand.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jaxlabel
from jaxlabel.experiment.run import METHODS

PATH = Path(jaxlabel.__file__).parent / "runlog" / "schemas" / "config.schema.json"
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def config_schema() -> str:
    """Return the JSON Schema of config.json as text: every setting of every recipe, by its name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for config in METHODS:
        for field in dataclasses.fields(config):
            schemas = found.setdefault(field.name, [])
            if (schema := setting_schema(field)) not in schemas:
                schemas.append(schema)
    settings = {
        name: schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        for name, schemas in sorted(found.items())
    }
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "config.json of a jaxlabel run, version 1",
        "description": "The settings of the run by name; each recipe has some of them. "
        "Written by scripts/schemas.py.",
        "type": "object",
        "required": ["version", "data", "seed", "budget"],
        "additionalProperties": False,
        "properties": {"version": {"const": 1}, **settings},
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def setting_schema(field: Any) -> dict[str, Any]:
    """Return the JSON Schema of one setting.

    Args:
      field: the dataclass field of the setting, as `jaxlabel.config.setting` makes it.
    """
    about, choices = field.metadata, field.metadata.get("choices")
    schema: dict[str, Any] = {"description": about["help"], "type": TYPES[field.type]}
    if choices is not None:
        values = {"enum": list(choices)}
        own = {"description": "a function of the user, module:function", "pattern": ":"}
        schema |= {"anyOf": [values, own]} if about.get("own") else values
    for key, limit in (("minimum", about.get("low")), ("maximum", about.get("high"))):
        if limit is not None:
            schema[key] = limit
    if field.type is float and about.get("high") is None:
        schema["type"] = ["number", "null"]  # null stands for infinity
    return schema


if __name__ == "__main__":
    PATH.write_text(config_schema())
    print(PATH)
