"""``Rating``: a number of stars, of a whole clip or of each region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.labels.config_tree import Tag
from earmark.labels.control_types.base import ControlType, Path

DEFAULT_STARS = 5
MOST_STARS = 20


class Rating(ControlType):
    """One of the ratings from 1 to ``maxRating``, in order: the median of the likely ones is shown."""

    result_type = "rating"
    label_tag = "Rating"
    names_sounds = False

    @classmethod
    def of_tag(cls, tag: Tag) -> ControlType | None:
        """Return the type of a ``Rating`` tag."""
        if tag.name != "rating":
            return None
        return REGION_RATING if tag.flag("perregion") else CLIP_RATING

    def config_paths(self, tag: Tag) -> list[tuple[Path, Tag]]:
        """Return the ratings as labels."""
        stars = tag.get("maxrating", str(DEFAULT_STARS))
        most = int(stars) if stars.isdecimal() and 0 < int(stars) <= MOST_STARS else DEFAULT_STARS
        return [((str(number),), Tag("", {})) for number in range(1, most + 1)]

    def read_paths(self, value: Mapping[str, Any]) -> list[Path]:
        """Return the rating; 0 stars are none."""
        rating = value.get(self.result_type)
        return [(str(rating),)] if type(rating) is int and rating > 0 else []

    def value(self, paths: Sequence[Path]) -> dict[str, Any]:
        """Return the rating as a number."""
        return {self.result_type: int(paths[0][0])}

    def likeliest(self, probabilities: NDArray[Any]) -> int:
        """Return the median: an error of one star is smaller than one of four."""
        return int(np.searchsorted(np.cumsum(probabilities), probabilities.sum() / 2))


CLIP_RATING = Rating("rating", exclusive=True)
REGION_RATING = Rating("region-rating", exclusive=True, per_region=True)
