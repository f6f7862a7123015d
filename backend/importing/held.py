"""What a project holds of the sounds that are to come in."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from backend.importing.items import Part, Sound, part_of
from backend.labelstudio.client import explained

PAGE_TASKS = 1000


class Held:
    """The sounds that a project holds, by what each task's data says of them; without a project, none.

    Looking again reads only the tasks that are new, so it costs little before every batch, and
    finds what another import has brought in meanwhile.
    """

    def __init__(self, client: Any, url: str, project_id: int | None) -> None:
        self._client, self._url, self._project_id = client, url, project_id
        self._identities: set[str] = set()
        self._parts: dict[str, set[Part]] = {}
        self._named: set[tuple[str, str]] = set()
        self._last_id = 0

    def has(self, sound: Sound, *, by_name: bool) -> bool:
        """Whether the sound is there; ``by_name``: under its name, so that copies count apart."""
        return (sound.identity, sound.fname) in self._named if by_name else sound.identity in self._identities

    def otherwise(self, sound: Sound) -> str | None:
        """Why a sound is there in another way, whole or in other stretches; None where it is not."""
        wanted = sound.part
        held = self._parts.get(wanted.recording, set())
        if wanted in held or not any(part.overlaps(wanted) for part in held):
            return None
        seconds = max(part.end - part.start for part in held)  # the last stretch may be shorter
        what, as_before = f"it in stretches of {seconds:g} s", f"give --split {seconds:g}"
        if math.isinf(seconds):
            what, as_before = "the whole recording", "leave --split out"
        return f"The project holds {what} already: {as_before}, or --keep duplicate to have it in both."

    def arrived(self, identity: str) -> bool:
        """Look, and say whether a sound of that identity is there."""
        self.look()
        return identity in self._identities

    def look(self) -> None:
        """Read the tasks that came since the last look.

        Raises
        ------
        LabelStudioError
            Label Studio cannot be reached or refuses.
        """
        for _ in self._new():
            pass

    def keep_only(self, made: Sequence[int], sounds: Collection[Sound]) -> None:
        """Look, and delete what Label Studio made of the sounds in an earlier run of the same request.

        Parameters
        ----------
        made
            Numbers of the tasks that it says to have made; those of an earlier run are lower, and came
            since the last look.

        Raises
        ------
        LabelStudioError
            As above.
        """
        names = {(sound.identity, sound.fname) for sound in sounds}
        earlier = [number for number, name in self._new() if number < min(made) and name in names]
        with explained(self._url):
            for number in earlier:
                self._client.tasks.delete(id=number)

    def _new(self) -> Iterator[tuple[int, tuple[str, str]]]:
        """Numbers of the tasks since the last look, each with its sound's identity and name."""
        if self._project_id is None:
            return
        newer = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": self._last_id}
        query = {"filters": {"conjunction": "and", "items": [newer]}, "ordering": ["tasks:id"]}
        with explained(self._url):
            for task in self._client.tasks.list(
                project=self._project_id,
                query=json.dumps(query),
                fields="task_only",
                include="id,data",
                page_size=PAGE_TASKS,
            ):
                self._last_id = max(self._last_id, int(task.id))
                data = task.data or {}
                part = part_of(data)
                if part:
                    name = (part.identity, str(data.get("fname")))
                    self._identities.add(part.identity)
                    self._parts.setdefault(part.recording, set()).add(part)
                    self._named.add(name)
                    yield int(task.id), name
