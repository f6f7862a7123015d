"""Readers of the label files of tools and data sets, and their pairing with recordings."""
