"""Encoder registry: the only place where encoder names are compared.

Importing this imports no torch, no onnxruntime, and reads nothing.
"""

from __future__ import annotations

import re

from earmark.encoders.entries import AUTO_ORDER, ENTRIES
from earmark.encoders.spec import EncoderSpec, WeightsSpec
from earmark.errors import ConfigurationError

__all__ = [
    "AUTO",
    "EncoderSpec",
    "WeightsSpec",
    "auto_order",
    "candidates",
    "class_list",
    "class_names",
    "find_spec",
    "is_version_name",
    "names",
    "spec_of",
    "specs",
    "takes_checkpoint",
    "version_name_pattern",
    "weights_command",
    "weights_of",
]

DEFAULT_WEIGHTS = AUTO_ORDER[0]
"""What ``earmark weights`` brings where no encoder is named."""
AUTO = "auto"
"""``ENCODER=auto`` takes the first of `auto_order` whose weights are there or can be fetched."""


def specs() -> tuple[EncoderSpec, ...]:
    """Return every registered encoder, best first."""
    return ENTRIES


def auto_order() -> tuple[EncoderSpec, ...]:
    """Return the encoders that ``ENCODER=auto`` tries, best first; the last needs no weights."""
    return tuple(spec_of(name) for name in AUTO_ORDER)


def candidates(setting: str) -> tuple[EncoderSpec, ...]:
    """Return the encoders that a value of ``ENCODER`` may lead to, best first."""
    return auto_order() if setting == AUTO else (spec_of(setting),)


def stands_in(setting: str, name: str) -> bool:
    """Whether ``auto`` came to an encoder that is not the best one."""
    return setting == AUTO and name != AUTO_ORDER[0]


def with_classes() -> tuple[str, ...]:
    """Return the names of the encoders that tell classes apart without any training."""
    return tuple(spec.name for spec in ENTRIES if spec.class_names is not None)


def takes_checkpoint(setting: str) -> bool:
    """Whether CNN14_CHECKPOINT matters under a value of ``ENCODER``."""
    return any(spec.takes_checkpoint for spec in candidates(setting))


def names() -> tuple[str, ...]:
    """Return the names of every registered encoder."""
    return tuple(spec.name for spec in ENTRIES)


def spec_of(name: str) -> EncoderSpec:
    """Return the entry of a name, or of an identity or version name that begins with it.

    Raises
    ------
    ConfigurationError
        No encoder has this name.
    """
    spec = find_spec(name)
    if spec is None:
        raise ConfigurationError(f"There is no encoder {name!r}: take one of {', '.join(names())}.")
    return spec


def find_spec(name: str) -> EncoderSpec | None:
    """Return the entry of a name, an identity or a version name; None for those of unknown encoders."""
    wanted = name.partition("-")[0].replace(".", "+")  # identities are folder names, which hold no plus
    return next((spec for spec in ENTRIES if spec.name == wanted), None)


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


def version_name_pattern() -> re.Pattern[str]:
    """Return the regular expression that version names of registered encoders match."""
    return re.compile(rf"({'|'.join(map(re.escape, names()))})-v[0-9]+")
