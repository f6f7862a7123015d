"""Evidence that regions give about the tag of the same name: likelihood ratios, and how often they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEFAULT_AGREED = 0.9
"""Share of annotations with a region in which the tag of that name is ticked, before any annotation."""
DEFAULT_CHOSEN = 0.5
"""Share of annotations with a region in which a single choice is that name: there may be others beside it."""
DEFAULT_MISSED = 0.3
"""Probability that no region is predicted though the tag applies, before any annotation."""
DEFAULT_QUIET = 0.95
"""Probability that no region is predicted where the tag does not apply, before any annotation."""
DEFAULT_ALONE = 0.1
"""Likelihood ratio of finding no region for a tag that its head would tick, before any annotation: a tag that
contradicts the regions needs strong evidence, by convention odds of ten to one."""


@dataclass(frozen=True)
class RegionEvidence:
    """Evidence of one control's predicted regions about the C tags of another control's head.

    All arrays are float32 ``[C + 1]``: the last entry is for every tag that the head has not learned.
    ``regions``: name of the regions control. ``agreed``: share of the annotations with a
    region of a name in which the tag of that name is ticked; of a single choice, in which the choice is one
    of the names with a region. ``chosen``: in which it is that very name. ``missed``,
    ``quiet``: probability that no region is predicted where the tag applies, and where it does not.
    ``alone``: the ratio of the two, at most 1, of tags that the tags' head would tick: both heads have the
    same embeddings, so what the regions' head does not find the tags' head often takes for something else.
    """

    regions: str
    agreed: NDArray[np.float32]
    chosen: NDArray[np.float32]
    missed: NDArray[np.float32]
    quiet: NDArray[np.float32]
    alone: NDArray[np.float32]

    @classmethod
    def default(cls, regions: str, count: int) -> RegionEvidence:
        """The evidence before any annotation, for a head of ``count`` tags."""
        defaults = (DEFAULT_AGREED, DEFAULT_CHOSEN, DEFAULT_MISSED, DEFAULT_QUIET, DEFAULT_ALONE)
        return cls(regions, *(np.full(count + 1, value, np.float32) for value in defaults))

    def picked(self, indices: Sequence[int]) -> RegionEvidence:
        """The evidence about the tags at ``indices``, and about those that were never learned."""
        columns = [*indices, -1]
        arrays = (self.agreed, self.chosen, self.missed, self.quiet, self.alone)
        return RegionEvidence(self.regions, *(values[columns] for values in arrays))

    @classmethod
    def checked(
        cls,
        regions: object,
        count: int,
        agreed: NDArray[np.float32],
        chosen: NDArray[np.float32],
        missed: NDArray[np.float32],
        quiet: NDArray[np.float32],
        alone: NDArray[np.float32],
    ) -> RegionEvidence:
        """Evidence from stored arrays; ValueError where they do not fit a head of ``count`` tags."""
        arrays = (agreed, chosen, missed, quiet, alone)
        if not isinstance(regions, str) or any(values.shape != (count + 1,) for values in arrays):
            raise ValueError("its evidence and its labels do not fit together")
        if not all(((values >= 0) & (values <= 1)).all() for values in arrays):
            raise ValueError("its evidence is not made of shares")
        return cls(regions, *arrays)


def default_alone(count: int) -> NDArray[np.float32]:
    """Return ``alone`` of so many tags before any annotation."""
    return np.full(count + 1, DEFAULT_ALONE, dtype=np.float32)
