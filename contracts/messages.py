"""Every message by its `type`, and its JSON Schema (draft 2020-12), for readers in any language."""

from __future__ import annotations

from typing import Any, Final

from contracts.base import Message
from contracts.topics import TOPICS

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"

MESSAGES: Final[dict[str, type[Message]]] = dict(
    sorted({name: message for topic in TOPICS.values() for name, message in topic.messages.items()}.items())
)


def json_schema(message: type[Message]) -> dict[str, Any]:
    """What the wire must hold to be read as `message`.

    `type` and `schema_version` have defaults in the class, for those who write; those who read need both.
    """
    schema = message.model_json_schema(mode="validation")
    for name in ("type", "schema_version"):
        if name not in schema["required"]:
            schema["required"].append(name)
    schema["required"].sort()
    _close(schema)
    name = message.model_fields["type"].default
    return {"$schema": DRAFT, "$id": f"urn:flowgate:{name}:{message.VERSION}", **schema}


def _close(schema: Any) -> None:
    """Refuse keys of a mapping that do not fit its pattern, as the contract does; the generator leaves that open."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for part in schema.values():
            _close(part)
    elif isinstance(schema, list):
        for part in schema:
            _close(part)
