"""The operations of an OpenAPI document as tools: their names, parameters, and the address that a call goes to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urljoin, urlsplit

from ...serving.agent.tools import ToolFailureError

METHODS: Final = ("get", "post", "put", "patch", "delete")
_NAME = re.compile(r"[^A-Za-z0-9]+")
_DEEPEST = 8  # references to references


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        name: of the tool: its operationId, or made of method and path.
        method: of HTTP, in capitals.
        path: with its parameters in braces.
        about: for the model.
        places: where each parameter goes: path, query or body.
        schemas: of each parameter.
        required: parameters that must be given.
        whole_body: whether the body is the one parameter `body`, for bodies that are no objects.
    """

    name: str
    method: str
    path: str
    about: str
    places: Mapping[str, str]
    schemas: Mapping[str, Any]
    required: tuple[str, ...]
    whole_body: bool = False

    def described(self) -> dict[str, Any]:
        """Return the tool as a record's tools column has it."""
        parameters = {"type": "object", "properties": dict(self.schemas), "required": list(self.required)}
        return {"name": self.name, "description": self.about, "parameters": parameters}


def operations_of(document: Any, url: str) -> tuple[dict[str, Operation], str]:
    """Return the operations of a document by their tools' names, and the address that their paths follow.

    Args:
        document: as JSON gives it.
        url: where it came from; operations on another host are refused.

    Raises:
        ValueError: it is no OpenAPI document, or its operations are elsewhere.
    """
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise ValueError("the document has no paths; give the URL of an OpenAPI document")
    servers = document.get("servers")
    stated = (
        servers[0].get("url", "") if isinstance(servers, list) and servers and isinstance(servers[0], dict) else ""
    )
    base = urljoin(url, stated if isinstance(stated, str) and stated else "/")
    if urlsplit(base)[:2] != urlsplit(url)[:2]:
        raise ValueError(f"its operations are on another server ({urlsplit(base).netloc}); give that server's own URL")
    found: dict[str, Operation] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if isinstance(item, dict) and isinstance(stated_operation := item.get(method), dict):
                operation = _operation(document, path, method, item, stated_operation)
                found.setdefault(operation.name, operation)
    return found, base.rstrip("/")


def address_of(operation: Operation, arguments: Mapping[str, Any]) -> tuple[str, Any]:
    """Return path with query, and body, of a call.

    Raises:
        ToolFailureError: an argument is unknown, or one is missing.
    """
    for name in arguments:
        if name not in operation.places:
            raise ToolFailureError("arguments", f"{operation.name} has no parameter {name[:60]!r}")
    for name in operation.required:
        if name not in arguments:
            raise ToolFailureError("arguments", f"{operation.name} needs the parameter {name!r}")
    path, query = operation.path, list[tuple[str, str]]()
    body: dict[str, Any] = {}
    for name, value in arguments.items():
        if operation.places[name] == "path":
            text = quote(_text(value), safe="")
            if text in ("", ".", ".."):
                raise ToolFailureError("arguments", f"{name} cannot be {text!r}")
            path = path.replace("{" + name + "}", text)
        elif operation.places[name] == "query":
            query += [(name, _text(one)) for one in (value if isinstance(value, list) else [value])]
        else:
            body[name] = value
    sent: Any = body.get("body") if operation.whole_body else body
    has_body = operation.method != "GET" and "body" in operation.places.values()
    return path + (f"?{urlencode(query)}" if query else ""), sent if has_body else None


def _operation(document: Any, path: str, method: str, item: Any, stated: Any) -> Operation:
    places, schemas, required = dict[str, str](), dict[str, Any](), list[str]()
    for one in [*_list(item.get("parameters")), *_list(stated.get("parameters"))]:
        parameter = _resolved(document, one)
        key, place = parameter.get("name"), parameter.get("in")
        if not isinstance(key, str) or place not in ("path", "query"):
            continue
        described = {"description": parameter["description"]} if parameter.get("description") else {}
        places[key], schemas[key] = place, {**_resolved(document, parameter.get("schema")), **described}
        required += [key] if (parameter.get("required") or place == "path") and key not in required else []
    content = _resolved(document, stated.get("requestBody")).get("content")
    media = content.get("application/json") if isinstance(content, dict) else None
    whole = False
    if isinstance(media, dict):
        schema = _resolved(document, media.get("schema"))
        properties = schema.get("properties")
        whole = not isinstance(properties, dict)
        for key, part in (properties if isinstance(properties, dict) else {"body": schema}).items():
            if key not in places:
                places[key], schemas[key] = "body", _resolved(document, part)
        required += [
            key for key in _list(schema.get("required")) if isinstance(key, str) and places.get(key) == "body"
        ]
    stated_name = stated.get("operationId")
    made = _NAME.sub("_", f"{method} {path}").strip("_")
    name = stated_name if isinstance(stated_name, str) and stated_name else made
    about = str(stated.get("summary") or stated.get("description") or "")
    return Operation(name, method.upper(), path, about, places, schemas, tuple(required), whole)


def _resolved(document: Any, value: Any) -> dict[str, Any]:
    """Return an object, or what its reference within the document names; {} for anything else."""
    for _ in range(_DEEPEST):
        reference = value.get("$ref") if isinstance(value, dict) else None
        if not isinstance(reference, str):
            break
        value = document if reference.startswith("#/") else None
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
