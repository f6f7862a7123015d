"""Types of settings: how the text of an environment variable is split, and which values are usable.

Each fault is a ValueError that says what to write; `load_settings` adds the name of the variable.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

_HOST_NAME = re.compile(r"\*|(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
"""A host name, ``*.domain`` for all names below a domain, or ``*``."""
_REDIS_URL = re.compile(r"rediss?://[^#/?]*(/\d*)?(\?[^#]*)?|unix://[^#]+")
_FRAMES_URL = re.compile(r"(file://)?/.*|(s3|gs|azure-blob)://[^/?#].*")
_HEADER_TEXT = re.compile(r"[!-~]*")
"""What Label Studio can send in a header."""


def _split_folders(value: object) -> object:
    return tuple(part for part in value.split(":") if part) if isinstance(value, str) else value


def _split_hosts(value: object) -> object:
    return tuple(re.findall(r"[^\s,]+", value)) if isinstance(value, str) else value


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _check_hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    for host in hosts:
        if not (_is_network(host) or _HOST_NAME.fullmatch(host)):
            raise ValueError(
                f"'{host}' is no host name, IP address or network: give it without scheme, port and path"
            )
    return hosts


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        if not _is_network(network):
            raise ValueError(
                f"'{network}' is no IP address or network: give it without scheme, port and path"
            )
    return networks


def _check_redis_url(url: str) -> str:
    if not _REDIS_URL.fullmatch(url) or not _is_redis_url(url):
        raise ValueError(
            "write redis://user:password@host:6379/0, rediss://… or unix:///path, with signs such as # "
            "and / in the password as %23 and %2F"
        )
    return url


def _is_redis_url(url: str) -> bool:
    """Whether the client accepts a URL: its port, its database number and its options."""
    import redis  # late, because few installations set REDIS_URL

    try:
        redis.ConnectionPool.from_url(url).make_connection()  # not connected yet
    except (ValueError, TypeError, redis.RedisError):
        return False
    return True


def _check_frames_url(url: str) -> str:
    if not _FRAMES_URL.fullmatch(url):
        raise ValueError(
            "give a folder by its whole path, or a bucket: s3://, gs:// or azure-blob://name/prefix"
        )
    return url


def _check_user(user: str) -> str:
    if not _HEADER_TEXT.fullmatch(user) or ":" in user:  # in RFC 7617, ':' ends the user name
        raise ValueError("take letters without accents, digits and signs; no space and no ':'")
    return user


def _check_secret(secret: SecretStr) -> SecretStr:
    if not _HEADER_TEXT.fullmatch(secret.get_secret_value()):
        raise ValueError("take letters without accents, digits and signs; no space")
    return secret


Folders = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split_folders)]
"""Folders, separated by ':' in a variable."""
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_hosts), AfterValidator(_check_hosts)]
"""Host names, IP addresses and networks, separated by ',' in a variable."""
Networks = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split_hosts), AfterValidator(_check_networks)
]
"""IP addresses and networks, separated by ',' in a variable."""
BindAddress = Annotated[str, AfterValidator(lambda address: address.strip("[]"))]
"""Address to listen on; an IPv6 one may be written in brackets."""
RedisUrl = Annotated[str, AfterValidator(_check_redis_url)]
FramesUrl = Annotated[str, AfterValidator(_check_frames_url)]
ServerUrl = Annotated[str, AfterValidator(lambda url: url.rstrip("/") or None)]
"""URL of a server, without a slash at its end; None where nothing is left of it."""
HeaderUser = Annotated[str, AfterValidator(_check_user)]
HeaderSecret = Annotated[SecretStr, AfterValidator(_check_secret)]
"""User name, and a password or token, that Label Studio can send in a header."""
