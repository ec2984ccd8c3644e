"""Convolutions and group norms on the CPU, computed by oneDNN or by XLA.

Networks call `conv` and `norm_activation`, and `select` chooses which of the two libraries computes
them. docs/cpu_kernels.md lists the choice for each processor and how the oneDNN kernels are
compiled.
"""

from jaxlabel.nets.native.convolution import conv
from jaxlabel.nets.native.norm import norm_activation
from jaxlabel.nets.native.selection import Kernels, preload, select, selected

__all__ = ["Kernels", "conv", "norm_activation", "preload", "select", "selected"]
