"""Bakeoff: serve versions of a model behind one URL and say which one is better."""

__version__ = "0.1.0"
