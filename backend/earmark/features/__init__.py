"""Frames of a sound, stored by content."""
