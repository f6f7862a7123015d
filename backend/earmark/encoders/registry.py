"""Encoder registry: the only place where encoder names are compared.

Importing this imports no torch, no onnxruntime, and reads nothing.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from earmark.encoders.combination import combine
from earmark.encoders.entries import AUTO_ORDER, ENTRIES
from earmark.encoders.plugins import load_plugin, plugin_faults, plugin_names
from earmark.encoders.spec import EncoderSpec, WeightsSpec
from earmark.errors import ConfigurationError

if TYPE_CHECKING:
    from earmark.settings import Settings

__all__ = [
    "AUTO",
    "DEFAULT_WEIGHTS",
    "EncoderSpec",
    "WeightsSpec",
    "auto_order",
    "candidates",
    "checked_setting",
    "class_list",
    "class_names",
    "find_spec",
    "is_fallback",
    "is_version_name",
    "names",
    "plugin_faults",
    "plugin_names",
    "spec_of",
    "specs",
    "takes_checkpoint",
    "version_name_pattern",
    "weights_command",
    "weights_of",
    "with_classes",
]

DEFAULT_WEIGHTS = next(spec.name for spec in ENTRIES if spec.weights)
"""What ``earmark weights`` brings where no encoder is named."""
AUTO = "auto"
"""``ENCODER=auto`` takes the first of `attempts` whose weights are there or can be fetched."""


def specs() -> tuple[EncoderSpec, ...]:
    """Return Earmark's own encoders, best first, and the plug-ins that can be used, which it imports."""
    faults = plugin_faults()
    return tuple(spec_of(name) for name in names() if name not in faults)


def auto_order() -> tuple[EncoderSpec, ...]:
    """Return the encoders that ``ENCODER=auto`` may choose, best first; the last needs no weights."""
    return tuple(spec_of(name) for name in AUTO_ORDER)


def candidates(settings: Settings) -> tuple[EncoderSpec, ...]:
    """Return the encoders to try for ``ENCODER``, in the order in which their weights are fetched.

    ``auto`` takes the best encoder first where its weights are on this machine. Where they are not, the next
    one comes first, whose weights are a fiftieth in size, so that predictions wait for no large download.
    """
    if settings.encoder != AUTO:
        return (spec_of(settings.encoder),)
    best, light, *others = auto_order()
    return (light, best, *others) if best.absent(settings) else (best, light, *others)


def is_fallback(setting: str, name: str) -> bool:
    """Whether ``auto`` chose another encoder than the best one."""
    return setting == AUTO and name != AUTO_ORDER[0]


def with_classes() -> tuple[str, ...]:
    """Return the names of Earmark's own encoders that tell classes apart without any training."""
    return tuple(spec.name for spec in ENTRIES if spec.class_names is not None)


def takes_checkpoint(setting: str) -> bool:
    """Whether CNN14_CHECKPOINT matters under a value of ``ENCODER``."""
    specs_of_setting = auto_order() if setting == AUTO else (spec_of(setting),)
    return any(spec.takes_checkpoint for spec in specs_of_setting)


def names() -> tuple[str, ...]:
    """Return the names of Earmark's own encoders, of combinations that ``auto`` tries, and of plug-ins."""
    pairs = (name for name in AUTO_ORDER if "+" in name)
    return (*(spec.name for spec in ENTRIES), *pairs, *plugin_names())


def checked_setting(value: str) -> str:
    """Return a value of ``ENCODER`` as it is spelt elsewhere: the encoders of a combination in order.

    Raises
    ------
    ConfigurationError
        There is no such encoder, a combination has one twice, or a plug-in is broken.
    """
    return value if value == AUTO else _resolve(tuple(value.split("+"))).name


def spec_of(name: str) -> EncoderSpec:
    """Return the entry of a name, or of an identity or version name that begins with it.

    Raises
    ------
    ConfigurationError
        No encoder has this name, or the plug-in that has it is broken.
    """
    # Identities are folder names, which hold no plus.
    return _resolve(tuple(name.partition("-")[0].replace(".", "+").split("+")))


def find_spec(name: str) -> EncoderSpec | None:
    """Return the entry of a name, an identity or a version name; None where it cannot be used now."""
    try:
        return spec_of(name)
    except ConfigurationError:
        return None


@functools.cache
def _resolve(parts: tuple[str, ...]) -> EncoderSpec:
    """The entry of one encoder, or of a combination, whose order makes no difference."""
    own = {spec.name: spec for spec in ENTRIES}
    order = (*own, *plugin_names())
    if not set(parts) <= set(order):
        raise ConfigurationError(
            f"There is no encoder {'+'.join(parts)!r}: take one of {', '.join(names())}, several joined by "
            "'+', or auto."
        )
    if len(set(parts)) < len(parts):
        raise ConfigurationError(f"{'+'.join(parts)} has an encoder twice: name each one once.")
    ordered = tuple(sorted(parts, key=order.index))
    if ordered != parts:
        return _resolve(ordered)
    members = [own.get(part) or load_plugin(part) for part in ordered]
    return members[0] if len(members) == 1 else combine(members)


def weights_command(weights: WeightsSpec) -> str:
    """Return the command line that brings some weights."""
    return "earmark weights" + ("" if weights.name == DEFAULT_WEIGHTS else f" {weights.name}")


def weights_of(name: str) -> tuple[WeightsSpec, ...]:
    """Return where an encoder's weights come from, at least one.

    Raises
    ------
    ConfigurationError
        No encoder has this name, or it has no weights.
    """
    weights = spec_of(name).weights
    if not weights:
        with_weights = ", ".join(spec.name for spec in ENTRIES if spec.weights)
        raise ConfigurationError(f"The encoder {name} has no weights: take one of {with_weights}.")
    return weights


def class_names(identity: str) -> tuple[str, ...]:
    """Return the class names of the encoder with this identity; empty where it has none."""
    spec = find_spec(identity)
    return spec.class_names() if spec is not None and spec.class_names is not None else ()


def class_list(identity: str) -> str:
    """Return the path of the file that lists those names; empty where there are none."""
    spec = find_spec(identity)
    return spec.class_list if spec is not None else ""


def is_version_name(text: str) -> bool:
    """Whether a text is a version name of ours: ``<encoder>-v<n>`` with any registered encoder."""
    return version_name_pattern().fullmatch(text) is not None


@functools.cache
def version_name_pattern() -> re.Pattern[str]:
    """Return the regular expression that version names of registered encoders match."""
    name = f"(?:{'|'.join(map(re.escape, (*(spec.name for spec in ENTRIES), *plugin_names())))})"
    return re.compile(rf"{name}(?:\+{name})*-v[0-9]+")
