"""What the application says, as it travels: JSON or plain bytes, one value or several arguments, bytes within."""

from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from openline.model import JsonBytes
from openline.protocol.attachments import take_out
from openline.protocol.strict_json import encode_json

__all__ = ["MAX_PAYLOAD_BYTES", "Payload"]

#: What the application may publish at once: it must fit into every outbox, beside others.
MAX_PAYLOAD_BYTES: Final = 262_144


class Payload(msgspec.Struct, frozen=True, gc=False):
    """The fields of a :class:`~openline.model.Publication` that hold what is said."""

    data: JsonBytes
    binary: bool = False
    spread: bool = False
    attachments: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the data and what belongs to it."""
        return len(self.data) + sum(map(len, self.attachments))

    @classmethod
    def of(cls, value: Any) -> "Payload":
        """One value: bytes as they are, anything else as JSON, with the bytes in it as attachments.

        Raises :class:`TypeError` or :class:`ValueError` for what JSON cannot hold, or is more than may be published.
        """
        if value.__class__ is str:
            return _checked(cls(encode_json(value)))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return _checked(cls(bytes(cast("bytes", value)), binary=True))
        try:
            plain, attachments = take_out(value)
        except RecursionError:
            raise ValueError("the value is nested too deep") from None
        return _checked(cls(encode_json(plain), attachments=attachments))

    @classmethod
    def of_arguments(cls, arguments: Sequence[Any]) -> "Payload":
        """Any number of arguments; other doors see one as itself, none as null, several as an array.

        Raises as :meth:`of` does.
        """
        if not arguments:
            return cls(b"null")
        if len(arguments) == 1 and arguments[0] is not None:
            return cls.of(arguments[0])
        one = cls.of(list(arguments))
        return cls(one.data, spread=True, attachments=one.attachments)


def _checked(payload: Payload) -> Payload:
    size = payload.size if payload.attachments else len(payload.data)
    if size > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload has {MAX_PAYLOAD_BYTES} bytes at most, this one has {size}")
    return payload
