"""Combination of registry entries: several encoders as one entry, such as ``yamnet+logmel``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from earmark.encoders.spec import EncoderSpec
from earmark.errors import ConfigurationError

if TYPE_CHECKING:
    from earmark.encoders.base import Encoder
    from earmark.settings import Settings

LONGEST_NAME = 80
"""Characters; an identity is a folder name and a column of the database."""


def combine(members: Sequence[EncoderSpec]) -> EncoderSpec:
    """Make the entry of a combination, whose frames and embeddings are those of its members side by side.

    Raises
    ------
    ConfigurationError
        The name would be too long.
    """
    name = "+".join(member.name for member in members)
    if len(name) > LONGEST_NAME:
        raise ConfigurationError(
            f"ENCODER={name} is too long: combine fewer encoders, {LONGEST_NAME} characters in all."
        )

    def build(settings: Settings, at_once: bool) -> Encoder:
        from earmark.encoders.combined import CombinedEncoder

        return CombinedEncoder(*(member.build(settings, at_once) for member in members))

    def class_names() -> tuple[str, ...]:
        lists = [member.class_names() if member.class_names else () for member in members]
        return tuple(lists[member][index] for member, index in distinct_classes(lists))

    costs = [member.cost for member in members]
    return EncoderSpec(
        name=name,
        build=build,
        identity=lambda settings: combined_identity(name, [member.identity(settings) for member in members]),
        sample_rate=max(member.sample_rate for member in members),
        cost=sum(cost for cost in costs if cost is not None) if None not in costs else None,
        weights=tuple(dict.fromkeys(weights for member in members for weights in member.weights)),
        class_names=class_names if any(member.class_names for member in members) else None,
        class_list=" and ".join(dict.fromkeys(member.class_list for member in members if member.class_list)),
        takes_checkpoint=any(member.takes_checkpoint for member in members),
        slow_to_build=any(member.slow_to_build for member in members),
        preload=tuple(
            dict.fromkeys(
                [*(module for member in members for module in member.preload), "earmark.encoders.combined"]
            )
        ),
    )


def combined_identity(name: str, identities: Sequence[str]) -> str:
    """Return the identity of a combination of encoders with these identities, safe as a folder name."""
    return f"{name.replace('+', '.')}-{hashlib.sha256(' '.join(identities).encode()).hexdigest()[:12]}"


def distinct_classes(lists: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Return (member, class) of the classes of a combination: one of each name, of the first that has it."""
    owners: dict[str, tuple[int, int]] = {}
    for member, names in enumerate(lists):
        for index, name in enumerate(names):
            owners.setdefault(name.casefold(), (member, index))
    return list(owners.values())
