"""Train accurate image classifiers from few labels, from scratch, on JAX."""

__version__ = "0.1.0"
