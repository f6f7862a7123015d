"""How many examples Hypothesis invents for a test; few of them in a quick run."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

FULL, QUICK = "earmark", "quick"
"""Names of the profiles: that of all runs, and that of ``make quick`` (``--hypothesis-profile=quick``)."""
QUICK_EXAMPLES = 10

# A busy machine is no fault of a test; what a test may cost is limited by its own timeout.
settings.register_profile(FULL, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(QUICK, settings.get_profile(FULL), max_examples=QUICK_EXAMPLES)


def with_examples(most: int, **options: Any) -> settings:
    """Return settings for a test that tries ``most`` examples, and in a quick run no more than the others."""
    if settings.get_current_profile_name() == QUICK:
        most = min(most, QUICK_EXAMPLES)
    return settings(max_examples=most, **options)
