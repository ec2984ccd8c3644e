"""Scale pictures with more than 8 bits to 8 bits, by one rule for the whole data set.

Microscopes and detectors write 16-bit, signed or floating-point pixels that use a part of their
range, so each value says nothing about brightness by itself. The rule is a pair of values, LOW and
HIGH, that become 0 and 255. It is measured once, on the training images, and stored with the model.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from jaxlabel.errors import DataError

CLIPPED = 0.001  # the share of a picture's pixels that may lie below LOW, and above HIGH
BROKEN = 0.01  # the share of pictures, of 100 or more, whose extreme values are ignored
FULL_RANGES = (1.0, 255.0, 65535.0)  # the largest values of the usual pixel formats


def measure(pictures: Sequence[Float[np.ndarray, "..."]]) -> str:
    """Choose the pixel values LOW and HIGH that become 0 and 255; return them as text "LOW:HIGH".

    In each picture, 0.1% of the pixels may lie below LOW, and 0.1% above HIGH. With 100 pictures or
    more, the 1% of pictures that need the lowest LOW and the 1% that need the highest HIGH are left
    out. If LOW to HIGH spans
    more than half of a format's full range (0 to 1, 0 to 255, 0 to 65535), the result is the full
    range.

    Args:
      pictures: the pixels of each picture; values that are not finite are ignored.
    """
    ends = np.array([_quantiles_and_range(picture) for picture in pictures])
    low = float(np.quantile(ends[:, 0], BROKEN, method="lower"))
    high = float(np.quantile(ends[:, 1], 1 - BROKEN, method="higher"))
    if high <= low:  # less than 0.1% of the pixels differ from the others
        low, high = float(ends[:, 2].min()), float(ends[:, 3].max())
    for full in FULL_RANGES:
        if low >= 0 and full / 2 < high <= full and (high - low > full / 2 or high == low):
            return written(0, full)
    return written(low, high if high > low else low + 1)


def _quantiles_and_range(picture: np.ndarray) -> tuple[float, float, float, float]:
    """Return a picture's quantiles at 0.1% and 99.9%, its minimum and its maximum, as a tuple."""
    finite = picture[np.isfinite(picture)]
    if not finite.size:
        return 0.0, 0.0, 0.0, 0.0
    low, high = np.quantile(finite, (CLIPPED, 1 - CLIPPED))
    return float(low), float(high), float(finite.min()), float(finite.max())


def scale(picture: Float[np.ndarray, "..."], rule: str) -> UInt8[np.ndarray, "..."]:
    """Scale pixels to 0 ... 255: LOW and all below become 0, HIGH and all above become 255.

    NaN becomes 0.

    Args:
      picture: the pixel values.
      rule: the text "LOW:HIGH", such as "0:65535".
    """
    low, high = limits(rule)
    share = (np.nan_to_num(picture.astype(np.float64), nan=low, neginf=low, posinf=high) - low) / (
        high - low
    )
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)


def limits(rule: str) -> tuple[float, float]:
    """Return the numbers LOW and HIGH in a text "LOW:HIGH", such as "0:65535".

    Raises:
      DataError: the text does not have this form, or LOW is not below HIGH.
    """
    low, _, high = rule.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        raise DataError(f"intensity {rule!r} is not LOW:HIGH, such as 0:65535") from None
    if not found[0] < found[1]:
        raise DataError(f"intensity {rule!r}: LOW is not below HIGH")
    return found


def written(low: float, high: float) -> str:
    """Return two numbers as a text "LOW:HIGH", from which `limits` gets exactly these numbers."""
    return f"{low!r}:{high!r}".replace(".0:", ":").removesuffix(".0")


def statement(rule: str, count: int) -> str:
    """Return a message for the user on how pictures with more than 8 bits are scaled.

    Args:
      rule: the text "LOW:HIGH" of the pixel values that become 0 and 255.
      count: the number of such pictures.
    """
    low, high = limits(rule)
    return (f"{count:,} pictures have more than 8 bits: their values {low:.6g} to {high:.6g} are "
            "shown as 0 to 255, by one rule for the whole data set")  # fmt: skip
