"""The CPU kernels: convolutions by oneDNN, and a group norm fused with its activation.

Networks call `conv` and `norm_activation` and need not know what computes them. `select` chooses
it once: see docs/cpu_kernels.md for which processor gets what, and how the library is compiled.
"""

from jaxlabel.nets.native.convolution import conv
from jaxlabel.nets.native.norm import norm_activation
from jaxlabel.nets.native.selection import Kernels, select, selected

__all__ = ["Kernels", "conv", "norm_activation", "select", "selected"]
