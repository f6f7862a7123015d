"""Weights files of encoders: where they lie, how they are fetched, verified, converted and installed."""
