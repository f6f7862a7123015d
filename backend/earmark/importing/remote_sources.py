"""Remote sources: list the sounds of a URL list or a bucket, and fetch objects of a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from earmark.errors import ConfigurationError, SoundNotFoundError, SoundUnreachableError
from earmark.importing.field.pairing import may_hold_labels
from earmark.importing.folders import wanted
from earmark.importing.models import Listed
from earmark.storage.atomic_files import atomic_write, key_of
from earmark.storage.object_storage import BUCKETS, bucket_files, bucket_path

_CHUNK_BYTES = 1 << 20
MOST_LABEL_BYTES = 256 << 20
"""A larger text file in a bucket is not fetched to look for labels."""


def is_remote(address: str) -> bool:
    """Whether the text is a URL or the address of an object in a bucket, not a path."""
    return address.partition("://")[0].lower() in {"http", "https", *BUCKETS} and "://" in address


def is_bucket(address: str) -> bool:
    """Whether the text is an address in a bucket, such as ``s3://bucket/folder``."""
    return address.partition("://")[0] in BUCKETS and "://" in address


def name_of(address: str) -> str:
    """Return the name of a remote sound: its address without scheme, credentials and query."""
    parts = urlsplit(address)
    return unquote(f"{parts.netloc.rpartition('@')[2]}{parts.path}")


def list_urls(table: Path) -> list[Listed]:
    """List the URLs of a text file, one a line; empty lines and lines that start with # are skipped.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or a line is no address.
    """
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{table} cannot be read as UTF-8 text: {error}.") from error
    by_address: dict[str, Listed] = {}
    names: set[str] = set()
    for number, line in enumerate(lines, 1):
        address = line.strip()
        if not address or address.startswith("#") or address in by_address:
            continue
        if not is_remote(address):
            raise ConfigurationError(
                f"{table}, line {number}: '{address[:80]}' is no address; each line must be one such as "
                "https://… or s3://…"
            )
        name = name_of(address)
        fname = address if name in names else name  # two queries of one path
        names.add(name)
        by_address[address] = Listed(None, fname, origin=address, address=address)
    return list(by_address.values())


def bucket_objects(prefix: str) -> dict[str, int]:
    """Return the bytes of the objects below an address such as ``s3://bucket/folder``, without hidden ones.

    The names are relative to the address, and sorted. The credentials come from the usual places of the
    bucket's own tools, such as ``AWS_ACCESS_KEY_ID`` or ``~/.aws``; ``AWS_ENDPOINT_URL`` selects another
    server than Amazon's.

    Raises
    ------
    ConfigurationError
        The library for this kind of bucket is missing, or the bucket does not exist or refuses.
    """
    base = prefix.rstrip("/") + "/"
    scheme = prefix.partition("://")[0]
    with _listing_errors(prefix):
        files = bucket_files(scheme).find(bucket_path(base), detail=True)
    objects = {
        f"{scheme}://{path}".removeprefix(base): int(info.get("size") or 0)
        for path, info in sorted(files.items())
    }
    return {
        name: size
        for name, size in objects.items()
        if not any(part.startswith(".") for part in PurePosixPath(name).parts)
    }


def list_bucket(
    prefix: str, names: Iterable[str], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[Listed]:
    """Return the sounds among the objects of a bucket, of `bucket_objects`."""
    base = prefix.rstrip("/") + "/"
    return [
        Listed(None, name, origin=f"{base}{name}", address=f"{base}{name}")
        for name in names
        if wanted(PurePosixPath(name), include, exclude)
    ]


@contextmanager
def label_file_copies(prefix: str, objects: Mapping[str, int], say: Callable[[str], None]) -> Iterator[Path]:
    """Copy the label files among the objects of a bucket to a temporary folder, under their names.

    Parameters
    ----------
    objects
        Bytes of the bucket's objects, of `bucket_objects`.
    say
        Called with a sentence about files that are too large to hold labels.

    Raises
    ------
    ConfigurationError
        The bucket refuses or cannot be reached.
    """
    base = bucket_path(prefix).rstrip("/")
    folders = {str(parent) for name in objects for parent in PurePosixPath(name).parents}
    # A bucket may have an object with the name of a folder, which no file system has
    names = [name for name in objects if may_hold_labels(name) and name not in folders]
    wanted_names = [name for name in names if objects[name] <= MOST_LABEL_BYTES]
    if large := [name for name in names if objects[name] > MOST_LABEL_BYTES]:
        say(
            f"{len(large)} files such as {large[0]} are larger than {MOST_LABEL_BYTES >> 20} MB, so they are "
            "not read for labels."
        )
    with TemporaryDirectory(prefix="earmark-import-") as folder:
        copies = [Path(folder) / name for name in wanted_names]
        for copy in copies:
            copy.parent.mkdir(parents=True, exist_ok=True)
        with _listing_errors(prefix):
            bucket_files(prefix.partition("://")[0]).get(
                [f"{base}/{name}" for name in wanted_names], [str(copy) for copy in copies]
            )
        yield Path(folder)


def object_copy_path(address: str, folder: Path) -> Path:
    """Return the path below ``folder`` for a copy of an object; each version of it has another path.

    Raises
    ------
    SoundNotFoundError
        The object does not exist.
    SoundUnreachableError
        The bucket refuses or cannot be reached.
    ConfigurationError
        The library for this kind of bucket is missing.
    """
    with _fetching_errors(address):
        info = bucket_files(address.partition("://")[0]).info(bucket_path(address))
        version = info.get("ETag") or info.get("etag") or info.get("mtime")
        name = key_of(f"{address} {version} {info.get('size')}")
        return folder / name[:2] / f"{name}{PurePosixPath(urlsplit(address).path).suffix}"


def fetch_object(address: str, path: Path) -> None:
    """Copy an object of a bucket to ``path``; raises like ``object_copy_path``."""
    files = bucket_files(address.partition("://")[0])
    with (
        _fetching_errors(address),
        atomic_write(path) as part,
        files.open(bucket_path(address), "rb") as source,
        part.open("wb") as copy,
    ):
        while piece := source.read(_CHUNK_BYTES):
            copy.write(piece)


@contextmanager
def _fetching_errors(address: str) -> Iterator[None]:
    try:
        yield
    except ConfigurationError:
        raise
    except FileNotFoundError as error:
        raise SoundNotFoundError(f"There is no {address}: check the list.") from error
    except Exception as error:  # each cloud library has exceptions of its own
        raise SoundUnreachableError(
            f"{address} cannot be fetched ({error}): check the bucket's keys."
        ) from error


@contextmanager
def _listing_errors(prefix: str) -> Iterator[None]:
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{prefix} cannot be listed ({error}): check the address and the bucket's keys "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, or ~/.aws)."
        ) from error
