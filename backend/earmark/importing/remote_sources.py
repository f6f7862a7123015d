"""Sounds that are elsewhere: a list of URLs, or everything below an address of a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from earmark.errors import ConfigurationError, SoundNotFoundError, SoundUnreachableError
from earmark.importing.folders import wanted
from earmark.importing.models import Listed
from earmark.storage.atomic_files import atomic_write, key_of
from earmark.storage.object_storage import BUCKETS, bucket_files

_CHUNK_BYTES = 1 << 20


def is_remote(address: str) -> bool:
    """Whether it is a URL or the address of a bucket's object, not a path."""
    return address.partition("://")[0].lower() in {"http", "https", *BUCKETS} and "://" in address


def is_bucket(address: str) -> bool:
    """Whether it is an address such as ``s3://bucket/folder``."""
    return address.partition("://")[0] in BUCKETS and "://" in address


def name_of(address: str) -> str:
    """What a sound elsewhere is called: its address without scheme and query."""
    parts = urlsplit(address)
    return unquote(f"{parts.netloc.rpartition('@')[2]}{parts.path}")


def list_urls(table: Path) -> list[Listed]:
    """List the URLs of a text file, one a line; empty lines and those that start with # are passed over.

    Raises
    ------
    ConfigurationError
        The file is not there, or a line is no address.
    """
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{table} cannot be read as UTF-8 text: {error}.") from error
    found: dict[str, Listed] = {}
    names: set[str] = set()
    for number, line in enumerate(lines, 1):
        address = line.strip()
        if not address or address.startswith("#") or address in found:
            continue
        if not is_remote(address):
            raise ConfigurationError(
                f"{table}, line {number}: '{address[:80]}' is no address; each line must be one such as "
                "https://… or s3://…"
            )
        name = name_of(address)
        fname = address if name in names else name  # two queries of one path
        names.add(name)
        found[address] = Listed(None, fname, origin=address, address=address)
    return list(found.values())


def list_bucket(prefix: str, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[Listed]:
    """List the sounds below an address such as ``s3://bucket/folder``, sorted.

    The bucket's keys come from where its own tools look, such as ``AWS_ACCESS_KEY_ID`` or
    ``~/.aws``; ``AWS_ENDPOINT_URL`` is another server than Amazon's.

    Raises
    ------
    ConfigurationError
        The library for this kind of bucket is missing, or the bucket is not there or refuses.
    """
    base = prefix.rstrip("/") + "/"
    scheme = prefix.partition("://")[0]
    with _explained(prefix):
        files = bucket_files(scheme).find(base)
    found = []
    for name in sorted(files):
        address = f"{scheme}://{name}"
        relative = PurePosixPath(address.removeprefix(base))
        hidden = any(part.startswith(".") for part in relative.parts)
        if not hidden and wanted(relative, include, exclude):
            found.append(Listed(None, str(relative), origin=address, address=address))
    return found


def place_of_object(address: str, folder: Path) -> Path:
    """Return where below ``folder`` a copy of an object of a bucket belongs; a new version elsewhere.

    Raises
    ------
    SoundNotFoundError
        There is no such object.
    SoundUnreachableError
        The bucket refuses or cannot be reached.
    ConfigurationError
        The library for this kind of bucket is missing.
    """
    with _explained_object(address):
        about = bucket_files(address.partition("://")[0]).info(address)
        version = about.get("ETag") or about.get("etag") or about.get("mtime")
        name = key_of(f"{address} {version} {about.get('size')}")
        return folder / name[:2] / f"{name}{PurePosixPath(urlsplit(address).path).suffix}"


def fetch_object(address: str, path: Path) -> None:
    """Copy an object of a bucket to ``path``; raises as ``place_of_object`` does."""
    files = bucket_files(address.partition("://")[0])
    with (
        _explained_object(address),
        atomic_write(path) as part,
        files.open(address, "rb") as source,
        part.open("wb") as copy,
    ):
        while piece := source.read(_CHUNK_BYTES):
            copy.write(piece)


@contextmanager
def _explained_object(address: str) -> Iterator[None]:
    try:
        yield
    except ConfigurationError:
        raise
    except FileNotFoundError as error:
        raise SoundNotFoundError(f"There is no {address}: check the list.") from error
    except Exception as error:  # the libraries of clouds raise what they like
        raise SoundUnreachableError(
            f"{address} cannot be fetched ({error}): check the bucket's keys."
        ) from error


@contextmanager
def _explained(prefix: str) -> Iterator[None]:
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{prefix} cannot be listed ({error}): check the address and the bucket's keys "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, or ~/.aws)."
        ) from error
