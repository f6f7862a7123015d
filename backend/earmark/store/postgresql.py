"""PostgreSQL connections that give up on a server that is silent: it hangs, or the network lost it.

The server's own ``statement_timeout`` is of no use there, and reads of libpq wait for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from earmark.extras import require_extra

if TYPE_CHECKING:
    from psycopg import Connection
    from sqlalchemy import URL

CONNECT_SECONDS = 3


def connector(url: URL, answer_seconds: float | None) -> Callable[[], Connection[Any]]:
    """Return a function that connects, for SQLAlchemy's ``creator``.

    Parameters
    ----------
    answer_seconds
        Longest silence of the server while a statement runs; None waits for ever. After it the statement
        fails with psycopg's OperationalError, and the connection is closed.

    Raises
    ------
    MissingExtraError
        psycopg is not installed.
    """
    require_extra("psycopg", "DATABASE_URL with PostgreSQL")
    from psycopg import Connection, OperationalError

    class ImpatientConnection(Connection[Any]):
        def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **options: Any) -> Any:
            if answer_seconds is None:
                return super().wait(gen, *arguments, **options)
            return super().wait(self._limited(gen, answer_seconds), *arguments, **options)

        def _limited(self, gen: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
            """Pass everything on, and end the wait when nothing has come for ``seconds``."""
            try:
                state = next(gen)
                deadline = time.monotonic() + seconds
                while True:
                    ready = yield state
                    if ready:
                        deadline = time.monotonic() + seconds
                    elif time.monotonic() > deadline:
                        self.pgconn.finish()  # a rollback would wait again
                        raise OperationalError(f"the server has not answered for {seconds:g} s")
                    state = gen.send(ready)
            except StopIteration as end:
                return end.value

    arguments, options = url.get_dialect()().create_connect_args(url)
    options = {"connect_timeout": CONNECT_SECONDS, **options}
    return lambda: ImpatientConnection.connect(*arguments, **options)
