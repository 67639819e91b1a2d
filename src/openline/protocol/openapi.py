"""The OpenAPI 3.1 document of the backend API, built from the types that read its requests and write its answers."""

from collections.abc import Callable, Mapping
from inspect import cleandoc
from typing import Any, Final, cast

import msgspec

from openline.model import JsonBytes
from openline.protocol import problem
from openline.protocol.api import OPERATIONS, Key, Operation
from openline.version import VERSION

__all__ = ["document"]

_JSON: Final = "application/json"
_REFERENCE: Final = "#/components/schemas/{name}"
#: What may come instead of an answer, and when.
_REFUSALS: Final[Mapping[int, str]] = {
    400: "Something in the request does not fit; `field` says what.",
    401: "There is no key in the request, or none of this server's.",
    403: "The server is not known under this name, or the request comes from a page that may not send it.",
    404: "The backend API is off: the server has no keys. Or there is nothing at this path.",
    500: "The server failed; its log says why.",
    503: "The engine did not answer. The outcome is unknown: repeat with the same key.",
}
_BODY_REFUSALS: Final[Mapping[int, str]] = {
    408: "The body took too long.",
    413: "The body, or the payload in it, is too large.",
    415: "The body is not declared as application/json.",
}
_Schema = dict[str, Any]


def document(root: str) -> JsonBytes:
    """The document, as JSON, for an API at the path ``root``."""
    kinds = [kind for each in OPERATIONS for kind in (each.request, each.answer)]
    _, schemas = msgspec.json.schema_components([*kinds, problem.Problem], ref_template=_REFERENCE)
    described: _Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": "Openline backend API",
            "version": VERSION,
            "description": "For programs of your own that publish, look and put in order from outside the server.",
        },
        "servers": [{"url": root}],
        "security": [{"key": []}],
        "paths": _paths(schemas),
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "A key of the server."}},
            "schemas": {name: schema for name, schema in schemas.items() if not _is_query(name)},
        },
    }
    return msgspec.json.encode(_plain(described))


def _paths(schemas: Mapping[str, _Schema]) -> _Schema:
    paths: dict[str, _Schema] = {}
    for each in OPERATIONS:
        paths.setdefault(f"/{each.name}", {})[each.method.lower()] = _operation(each, schemas)
    return paths


def _operation(each: Operation, schemas: Mapping[str, _Schema]) -> _Schema:
    refusals = _REFUSALS if each.method == "GET" else {**_REFUSALS, **_BODY_REFUSALS}
    meaning = schemas[each.answer.__name__]["description"]
    answers: dict[str, _Schema] = {str(each.status): _content(each.answer, _JSON, meaning)}
    for status, meaning in sorted(refusals.items()):
        answers[str(status)] = _content(problem.Problem, problem.CONTENT_TYPE, meaning)
    said: _Schema = {
        "operationId": each.word or each.name.replace("-", "_"),
        "summary": schemas[each.request.__name__]["description"],
        "responses": answers,
    }
    if each.method == "GET":
        said["parameters"] = _parameters(schemas[each.request.__name__])
    else:
        body = _content(each.request, _JSON, "One JSON object.")
        said["requestBody"] = {**body, "required": True}
    if each.keyed:
        [schema], _ = msgspec.json.schema_components([Key])
        text = "The same as `key` in the body."
        said["parameters"] = [{"name": "Idempotency-Key", "in": "header", "description": text, "schema": schema}]
    return said


def _content(kind: type[msgspec.Struct], content_type: str, description: str) -> _Schema:
    reference = _REFERENCE.format(name=kind.__name__)
    return {"description": description, "content": {content_type: {"schema": {"$ref": reference}}}}


def _parameters(schema: _Schema) -> list[_Schema]:
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": each["description"],
            "schema": {word: value for word, value in each.items() if word != "description"},
        }
        for name, each in schema["properties"].items()
    ]


def _is_query(name: str) -> bool:
    return any(each.method == "GET" and each.request.__name__ == name for each in OPERATIONS)


def _plain(value: Any) -> Any:
    """``value`` as others read it: prose without Python's quotes and indentation, patterns in JavaScript's dialect."""
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {name: _PROSE[name](each) if _is_prose(name, each) else _plain(each) for name, each in entries.items()}
    return [_plain(each) for each in cast("list[Any]", value)] if isinstance(value, list) else value


def _is_prose(name: str, value: Any) -> bool:
    return name in _PROSE and isinstance(value, str)


_PROSE: Final[Mapping[str, Callable[[str], str]]] = {
    "description": lambda text: cleandoc(text).replace("``", "`"),
    "summary": lambda text: cleandoc(text).replace("``", "`"),
    "pattern": lambda text: text.replace(r"\A", "^").replace(r"\Z", "$"),
}
