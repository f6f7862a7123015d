"""``data:`` URIs (RFC 2397): sounds that stand in a task itself."""

from __future__ import annotations

import base64
import binascii
import mimetypes
from urllib.parse import unquote_to_bytes

from earmark.errors import SoundNotFoundError

SCHEME = "data:"


def is_data_uri(address: str) -> bool:
    """Whether an address is a ``data:`` URI."""
    return address[: len(SCHEME)].lower() == SCHEME


def shown_data_uri(address: str) -> str:
    """Return a ``data:`` URI for messages, without its data."""
    return f"{address.partition(',')[0][:100]},…"


def decode_data_uri(address: str) -> tuple[bytes, str]:
    """Return the content of a ``data:`` URI, and a file name extension for its media type or an empty text.

    Raises
    ------
    SoundNotFoundError
        It has no data, or the data is not in base64 though it says so.
    """
    head, comma, data = address.partition(",")
    media_type, *parameters = head[len(SCHEME) :].split(";")
    try:
        content = unquote_to_bytes(data)
        if parameters and parameters[-1].strip().lower() == "base64":
            content = base64.b64decode(content + b"=" * (-len(content) % 4), validate=True)
    except (binascii.Error, ValueError, UnicodeError) as error:
        raise SoundNotFoundError(
            f"{shown_data_uri(address)} is not in base64, as it says: correct it in the task."
        ) from error
    if not comma or not content:
        raise SoundNotFoundError(f"{shown_data_uri(address)} holds no data: correct it in the task.")
    return content, mimetypes.guess_extension(media_type.strip().lower()) or ""
