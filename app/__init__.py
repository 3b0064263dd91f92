"""Dragoman: one local address for every model account."""

__version__ = "0.1.0"
