"""Write and read the arrays of a model in the file format safetensors."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlabel.errors import JaxlabelError


def names_of(model: Any) -> list[str]:
    """Return the name of each array of a model, such as "encoder.dense.kernel"."""
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(model)[0]]
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path in paths]
    return [name.removesuffix(".value") for name in names]


def to_safetensors(model: Any, metadata: dict[str, str]) -> bytes:
    """Return the bytes of a safetensors file that contains a model's arrays by name.

    Args:
      model: a pytree of arrays.
      metadata: texts to store in the header of the file, by name.

    Raises:
      ImportError: the package safetensors is not installed.
    """
    from safetensors.numpy import save

    leaves = map(np.ascontiguousarray, jax.tree.leaves(model))
    return bytes(save(dict(zip(names_of(model), leaves, strict=True)), metadata))


def restore(file: Path, like: Any) -> Any:
    """Return the model whose arrays are in a safetensors file.

    Args:
      file: the path of a file that `to_safetensors` made.
      like: a pytree with the structure, shapes and dtypes of the model.

    Raises:
      JaxlabelError: the package safetensors is missing, the file is damaged, or its arrays do not
        fit the model.
    """
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise JaxlabelError(f"{file} needs the package safetensors: "
                            "pip install 'jaxlabel[export]'") from error  # fmt: skip
    try:
        saved = load_file(file)
    except Exception as error:  # safetensors raises its own class for each kind of damage
        raise JaxlabelError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    leaves, structure = jax.tree.flatten(like)
    arrays = []
    for name, leaf in zip(names_of(like), leaves, strict=True):
        array = saved.pop(name, None)
        if array is None or array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise JaxlabelError(f"{file}: the array {name} is missing or has another shape: the "
                                "file belongs to another version of jaxlabel")  # fmt: skip
        arrays.append(jax.numpy.asarray(array))
    if saved:
        raise JaxlabelError(f"{file} holds an array {min(saved)} that the model does not have")
    return jax.tree.unflatten(structure, arrays)
