"""Access control lists on a broker. Kafka denies whatever no list allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest

from connectors.kafka.access import Access
from connectors.kafka.admin import administrator

RESOURCES: Final = {"topic": 2, "group": 3}
PATTERNS: Final = {"literal": 3, "prefixed": 4}
OPERATIONS: Final = {"READ": 3, "WRITE": 4, "CREATE": 5, "DESCRIBE": 8, "DESCRIBE_CONFIGS": 10}
ALLOW: Final = 3
"""Codes of Kafka's protocol (`org.apache.kafka.common.acl`, `org.apache.kafka.common.resource`)."""


@dataclass(frozen=True, order=True)
class Acl:
    """`user` may do `operation` on the resource called `name`, or on all whose names begin with it."""

    user: str
    resource: Literal["topic", "group"]
    name: str
    operation: Literal["READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"]
    pattern: Literal["literal", "prefixed"] = "literal"

    def __str__(self) -> str:
        return f"{self.user}: {self.operation} {self.resource} {self.name}{'*' if self.pattern == 'prefixed' else ''}"


async def create(access: Access, acls: Sequence[Acl]) -> None:
    """Grant all of them; one that is there already is granted again, without effect. Takes nothing away."""
    async with administrator(access) as admin:
        for acl in acls:
            request = CreateAclsRequest(
                RESOURCES[acl.resource],
                acl.name,
                PATTERNS[acl.pattern],
                f"User:{acl.user}",
                "*",
                OPERATIONS[acl.operation],
                ALLOW,
            )
            response = await admin._send_request(request)  # aiokafka has the message, and no method that sends it
            for code, text in response.creation_responses:
                if code:
                    raise for_code(code)(f"{acl}: {text}")
