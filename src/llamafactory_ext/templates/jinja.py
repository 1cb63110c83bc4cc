"""Jinja text as chat templates have it: literals, and rendering under the rules of transformers and vLLM."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from typing import Any


def literal(text: str) -> str:
    """Return the Jinja string literal of a text."""
    return json.dumps(text, ensure_ascii=False)


def joined(*parts: str) -> str:
    """Return a Jinja expression that joins expressions; empty literals are left out."""
    kept = [part for part in parts if part not in ("", '""')]
    return " ~ ".join(kept) or '""'


def render(source: str, **variables: Any) -> str:
    """Render a chat template as `apply_chat_template` does: sandboxed, with `tojson` that escapes no HTML.

    Raises:
        jinja2.TemplateError: the text is no Jinja, or it refuses what it is given.
    """
    return str(_compiled(source).render(**variables))


@lru_cache(maxsize=256)
def _compiled(source: str) -> Any:
    return _environment().from_string(source)


@cache
def _environment() -> Any:
    import jinja2.ext  # only now: commands that render nothing need not load it
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    return environment
