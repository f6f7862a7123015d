"""Annotators of imported annotations: the accounts that they have in Label Studio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from earmark.labelstudio.client import explained

SHOWN = 5


@dataclass(frozen=True)
class Accounts:
    """E-mail addresses of a Label Studio's accounts by their number."""

    emails: Mapping[int, str] = field(default_factory=dict)

    def number_of(self, annotator: str | None) -> int | None:
        """Return the number of the account with this e-mail address, or this number; None without one."""
        if not annotator:
            return None
        folded = annotator.strip().casefold()
        for number, email in self.emails.items():
            if email.casefold() == folded:
                return number
        return int(folded) if _is_number(folded) and int(folded) in self.emails else None


NOBODY_KNOWN = Accounts()


def find_accounts(client: Any, url: str) -> Accounts:
    """Ask Label Studio for its accounts.

    Raises
    ------
    LabelStudioError
        Label Studio cannot be reached or refuses.
    """
    with explained(url):
        return Accounts({int(user.id): str(user.email or "") for user in client.users.list()})


def about(annotators: Iterable[str], accounts: Accounts) -> Iterator[str]:
    """Yield sentences about annotations that come in under another name than the source gives.

    Parameters
    ----------
    annotators
        One for each annotation.
    """
    counts = Counter(annotators)
    unknown = {name: count for name, count in counts.items() if accounts.number_of(name) is None}
    if unknown:
        yield (
            f"{sum(unknown.values())} annotations are of annotators without an account in this Label Studio: "
            f"{_listing(unknown)}. They come in under the importing account; the task's field 'annotators' "
            "has the names. Add the accounts first to keep them apart."
        )
    numbered = {
        f"{name} ({accounts.emails[number]})": counts[name]
        for name in counts
        if _is_number(name) and (number := accounts.number_of(name)) is not None
    }
    if numbered:
        yield (
            "The source names annotators by number; they are taken for the accounts of this Label Studio "
            f"with that number: {_listing(numbered)}."
        )


def _listing(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name}: {count}" for name, count in list(counts.items())[:SHOWN])
    return shown + (" …" if len(counts) > SHOWN else "")


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()
