"""The most accurate image classifier for the fewest label queries, from scratch, on JAX."""

__version__ = "0.1.0"
