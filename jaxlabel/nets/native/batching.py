"""Let `jax.vmap` map functions that take a single batch of images."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def with_vmap(function: Callable[..., Any], per_image: tuple[int, ...]) -> Callable[..., Any]:
    """Return `function` with a rule that says how `jax.vmap` maps it.

    If `vmap` maps only arguments that are in `per_image`, the mapped axis is merged with the axis
    of images, and `function` is called once with a larger batch. If `vmap` also maps another
    argument, such as the weights, `function` is called once for each index of the mapped axis.

    Args:
      function: takes arrays and returns arrays. The first axis of every result is the axis of
        images, unless `per_image` is empty.
      per_image: the positions of the arguments whose first axis is the axis of images; empty for a
        function that sums over the images, such as the gradient of the weights.
    """
    mapped = jax.custom_batching.custom_vmap(function)

    @mapped.def_vmap
    def rule(size: int, is_mapped: list[bool], *arguments: jax.Array) -> tuple[Any, Any]:
        shared = [i for i, one in enumerate(is_mapped) if one and i not in per_image]
        if per_image and not shared:
            folded = list(arguments)
            for i in per_image:
                array = arguments[i]
                if not is_mapped[i]:
                    array = jnp.broadcast_to(array, (size, *array.shape))
                folded[i] = array.reshape(-1, *array.shape[2:])
            results = with_vmap(function, per_image)(*folded)
            results = jax.tree.map(lambda a: a.reshape(size, -1, *a.shape[1:]), results)
        else:

            def one(chosen: list[jax.Array]) -> Any:
                rest = iter(chosen)
                return mapped(*(next(rest) if is_mapped[i] else a for i, a in enumerate(arguments)))

            results = jax.lax.map(one, [a for i, a in enumerate(arguments) if is_mapped[i]])
        return results, jax.tree.map(lambda _: True, results)

    return mapped
