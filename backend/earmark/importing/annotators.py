"""Match the annotators of imported annotations with Label Studio accounts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from earmark.labelstudio.client import explained

SHOWN = 5


@dataclass(frozen=True)
class Accounts:
    """The user accounts of a Label Studio server: e-mail address by user id."""

    emails: Mapping[int, str] = field(default_factory=dict)

    def number_of(self, annotator: str | None) -> int | None:
        """Return the id of the account with this e-mail address or this id; None without one."""
        if not annotator:
            return None
        folded = annotator.strip().casefold()
        for number, email in self.emails.items():
            if email.casefold() == folded:
                return number
        return int(folded) if _is_number(folded) and int(folded) in self.emails else None


NO_ACCOUNTS = Accounts()


def find_accounts(client: Any, url: str) -> Accounts:
    """List the accounts of Label Studio.

    Raises
    ------
    LabelStudioError
        Label Studio cannot be reached or refuses.
    """
    with explained(url):
        return Accounts({int(user.id): str(user.email or "") for user in client.users.list()})


def account_warnings(annotators: Iterable[str], accounts: Accounts) -> Iterator[str]:
    """Yield a warning for annotations whose account is missing or was found by number.

    Parameters
    ----------
    annotators
        The annotator of each annotation, repeated as often as there are annotations.
    """
    counts = Counter(annotators)
    unknown = {name: count for name, count in counts.items() if accounts.number_of(name) is None}
    if unknown:
        yield (
            f"{sum(unknown.values())} annotations are of annotators without an account in this Label Studio: "
            f"{_format_counts(unknown)}. They come in under the importing account; the task's field "
            "'annotators' has the names. Add the accounts first to keep them apart."
        )
    numbered = {
        f"{name} ({accounts.emails[number]})": counts[name]
        for name in counts
        if _is_number(name) and (number := accounts.number_of(name)) is not None
    }
    if numbered:
        yield (
            "The source names annotators by number; they are taken for the accounts of this Label Studio "
            f"with that number: {_format_counts(numbered)}."
        )


def _format_counts(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name}: {count}" for name, count in list(counts.items())[:SHOWN])
    return shown + (" …" if len(counts) > SHOWN else "")


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()
