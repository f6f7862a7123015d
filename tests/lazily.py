"""Libraries that take seconds to load, and that few tests compare with."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Lazy:
    """A module that is imported when something of it is first used, not when its tests are collected."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest looks for marks in all that a file of tests holds
            raise AttributeError(attribute)
        return getattr(import_module(self._name), attribute)
