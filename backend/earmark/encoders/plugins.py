"""Encoder plug-ins: entries that other packages add through the entry point group ``earmark.encoders``.

The names of all plug-ins are known from the metadata of installed packages; a plug-in's code is imported
when its name is asked for, so that a broken one fails alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from earmark.encoders.entries import AUTO_ORDER, ENTRIES
from earmark.encoders.plugin_encoder import PluginEncoder, detail_of, plugin_code
from earmark.encoders.spec import EncoderSpec, WeightsSpec
from earmark.errors import EncoderPluginError

GROUP = "earmark.encoders"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""Characters that names of versions, folders and combinations leave free."""
_IDENTITY = re.compile(r"[A-Za-z0-9._-]{1,80}")
_RESERVED = {"auto", *AUTO_ORDER, *(spec.name for spec in ENTRIES)}


class _UnusableError(Exception):
    """Why a plug-in cannot be used, as the end of a sentence."""


@functools.cache
def plugin_names() -> tuple[str, ...]:
    """Return the names of the plug-ins that may be chosen, broken ones included, in alphabetical order."""
    return tuple(name for name in sorted(_found()) if _NAME.fullmatch(name) and name not in _RESERVED)


def plugin_faults() -> dict[str, str]:
    """Import every plug-in, and return a sentence for each one that cannot be used."""
    loaded = {name: _loaded(name) for name in sorted(_found())}
    return {name: fault for name, fault in loaded.items() if isinstance(fault, str)}


def load_plugin(name: str) -> EncoderSpec:
    """Import a plug-in, once, and return its entry, whose functions raise expected errors alone.

    Raises
    ------
    EncoderPluginError
        It cannot be imported, is no `EncoderSpec`, or its name is not free.
    """
    loaded = _loaded(name)
    if isinstance(loaded, str):
        raise EncoderPluginError(loaded)
    return loaded


@functools.cache
def _found() -> dict[str, tuple[EntryPoint, ...]]:
    """Entry points of the group by name; several packages may claim one name."""
    entry_points_by_name: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=GROUP):
        entry_points_by_name[entry.name] = (*entry_points_by_name.get(entry.name, ()), entry)
    return entry_points_by_name


@functools.cache
def _loaded(name: str) -> EncoderSpec | str:
    """The entry of a plug-in, or a sentence on why it cannot be used."""
    entries = _found()[name]
    try:
        if not _NAME.fullmatch(name):
            raise _UnusableError("its name must be 1 to 32 of a-z, 0-9 and _, a letter first")
        if name in _RESERVED:
            raise _UnusableError("Earmark has an encoder of this name itself, which is used")
        if len(entries) > 1:
            raise _UnusableError("only one package may add this name")
        return _guarded_entry(_checked(name, _imported(entries[0])))
    except _UnusableError as error:
        packages = " and ".join(_package(entry) for entry in entries)
        return (
            f"The encoder plug-in {name!r} of {packages} cannot be used, so update or uninstall it: {error}."
        )


def _imported(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:  # other people's code may raise anything
        raise _UnusableError(f"importing {entry.value} failed ({detail_of(error)})") from error


def _checked(name: str, spec: object) -> EncoderSpec:
    if not isinstance(spec, EncoderSpec):
        raise _UnusableError(f"it is of the type {type(spec).__name__}, not an EncoderSpec")
    if spec.name != name:
        raise _UnusableError(f"its EncoderSpec has another name, {spec.name!r}")
    if not isinstance(spec.sample_rate, int) or spec.sample_rate <= 0:
        raise _UnusableError(f"its sample_rate is {spec.sample_rate!r}, not a positive whole number")
    if not callable(spec.build) or not callable(spec.identity):
        raise _UnusableError("its build and identity must be functions")
    if not isinstance(spec.weights, tuple) or not all(isinstance(each, WeightsSpec) for each in spec.weights):
        raise _UnusableError("its weights must be a tuple of WeightsSpec")
    for module in spec.preload:
        if not _exists(module):
            raise _UnusableError(f"its preload names the module {module!r}, which is not installed")
    return spec


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # the package that it would be in is missing, or cannot be imported
        return False


def _guarded_entry(spec: EncoderSpec) -> EncoderSpec:
    """The entry with functions whose unexpected errors become `EncoderPluginError`."""
    functions: dict[str, Any] = {
        field.name: _guarded(spec.name, field.name, value)
        for field in fields(spec)
        if callable(value := getattr(spec, field.name))
    }
    identity, class_names = functions["identity"], functions.get("class_names")

    def safe_identity(settings: Any) -> str:
        value = identity(settings)
        prefix = f"{spec.name}-"
        if not isinstance(value, str) or not _IDENTITY.fullmatch(value) or not value.startswith(prefix):
            raise EncoderPluginError(
                f"The encoder plug-in {spec.name!r} gives the identity {value!r}, which must be {prefix!r} "
                "and letters, digits, '.', '_' or '-': tell its author, or choose another ENCODER."
            )
        return value

    functions["identity"] = safe_identity
    if class_names is not None:
        functions["class_names"] = lambda: tuple(class_names())
    safe = replace(spec, **functions)
    return replace(safe, build=lambda settings, at_once: PluginEncoder.of(safe, settings, at_once))


def _guarded(name: str, field: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        with plugin_code(name, field):
            return function(*arguments)

    return call


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown package"
