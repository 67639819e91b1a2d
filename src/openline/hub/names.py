"""Names that nobody can guess: random, and safe in URLs."""

from binascii import b2a_base64
from os import urandom
from typing import Final

__all__ = ["new_name"]

_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def new_name(size: int) -> str:
    """A name out of ``size`` random bytes, a multiple of three: as of ``secrets.token_urlsafe``, in half the time."""
    return b2a_base64(urandom(size), newline=False).translate(_URL_SAFE).decode()
