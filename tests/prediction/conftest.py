"""Fixtures: sound servers, also slow ones."""

from tests.audio.sound_server import server, trickle

__all__ = ["server", "trickle"]
