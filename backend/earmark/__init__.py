"""Earmark: a Label Studio ML backend for sound that learns from every correction."""

__version__ = "0.1.0"
