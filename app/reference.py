"""`python -m app reference`: pages and Helm values that are rendered from the topics, contracts and catalogue."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import yaml

from agents.controls import denials
from app import security
from connectors.ibkr import errors
from contracts.controls import DeadLetterReason
from contracts.messages import MESSAGES
from contracts.topics import BATCH_BYTES, COMPRESSION, HOUR_MS, LINGER_MS, TOPICS, Topic

ROOT: Final = Path(__file__).resolve().parent.parent
WRITE: Final = "python -m app reference --write"
GENERATED: Final = f"generated from the contracts: change those and run {WRITE}"

PRODUCTION_REPLICAS: Final = 3

REASONS: Final = {
    DeadLetterReason.MALFORMED_JSON: ("the value is no JSON", "mend the writer; the record has nothing to replay"),
    DeadLetterReason.WRONG_SCHEMA: (
        "a field is missing, unknown or of the wrong type",
        "mend a copy and replay it, or mend the writer",
    ),
    DeadLetterReason.UNKNOWN_VERSION: (
        "`schema_version` is neither ours nor the one before",
        "deploy the readers first; then replay the original",
    ),
    DeadLetterReason.UNKNOWN_INSTRUMENT: (
        "the instrument is not in `contracts/instruments.py`",
        "add it there, deploy, replay the original",
    ),
    DeadLetterReason.OFF_TICK: (
        "a price is not on the tick grid, or a size no multiple of the lot",
        "compare the tick and lot with the venue's; mend a copy and replay it",
    ),
    DeadLetterReason.OUT_OF_RANGE: (
        "a number is too large, too small, not finite, levels are not best first, or `ts_event_ns` of a record or "
        "heartbeat is more than 30 days ahead of its partition",
        "mend a copy and replay it; after an outage of 30 days replay a heartbeat of each partition as it is, which is "
        "then believed",
    ),
    DeadLetterReason.EMPTY_BOOK: ("one side of the book has no level", "none: the next book replaces it"),
    DeadLetterReason.CROSSED_BOOK: (
        "the best bid is at or over the best ask",
        "none: the next book replaces it; many of them mean that the source merges two venues",
    ),
    DeadLetterReason.STALE_QUOTE: (
        "the quote is more than 5 s of event time behind its partition's heartbeat",
        "none: the market has moved on; look at the source's delay",
    ),
    DeadLetterReason.DUPLICATE: ("`seq` was taken before", "none: its effect is there already"),
    DeadLetterReason.OUT_OF_ORDER: (
        "`seq` or `ts_event_ns` is behind the last one taken, and was never taken itself",
        "replay the original if the message matters: a replay may fill the gap it left",
    ),
}
"""What each reason means, and what a person does about it."""


def main(*, check: bool) -> int:
    """Write the files, or say which are stale."""
    stale = [path for path, text in rendered().items() if _read(path) != text]
    for path in stale:
        if check:
            sys.stdout.write(f"{path} is stale: run {WRITE}\n")
        else:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(rendered()[path], encoding="utf-8")
            sys.stdout.write(f"wrote {path}\n")
    return 1 if check and stale else 0


def _read(path: str) -> str:
    file = ROOT / path
    return file.read_text(encoding="utf-8") if file.exists() else ""


def rendered() -> dict[str, str]:
    """Text of each generated file, by its path in the project."""
    return {
        "docs/reference/topics.md": topics_page(),
        "docs/reference/contracts.md": contracts_page(),
        "docs/reference/dead_letters.md": dead_letters_page(),
        "docs/reference/kafka_users.md": users_page(),
        "docs/reference/denials.md": denials_page(),
        "docs/reference/error_codes.md": error_codes_page(),
        "helm/topics.yaml": helm_values(),
    }


def denials_page() -> str:
    """Why admission denies, with the control that each denial serves."""
    intro = (
        "Each denied intent has a record on `decisions` with its reasons and their numbers, as "
        "`denied NOTIONAL_EXCEEDS_MAXIMUM: order_notional_usd=1250 order_notional_usd_max=1000 intent=...`. "
        "A control has the number of the regulators' list in `agents/controls/checks.py`."
    )
    return "\n".join(["# Denials", "", f"<!-- {GENERATED} -->", "", intro, "", denials.table(), ""])


def error_codes_page() -> str:
    """What the session does with each error code of the gateway."""
    intro = (
        "An error never decides the fate of an order alone: orderStatus, execDetails and snapshots do. A code that is "
        "not listed is logged as an error, told to the developers, and answered with a snapshot."
    )
    return "\n".join(["# Error codes of the gateway", "", f"<!-- {GENERATED} -->", "", intro, "", errors.table(), ""])


def topics_page() -> str:
    """All topics in one table."""
    rows = [
        f"| `{topic.name}` | {_names(topic)} | `{topic.key}` | {topic.partitions} | {_retention(topic)} "
        f"| {topic.min_insync(PRODUCTION_REPLICAS)} of {PRODUCTION_REPLICAS} | {'yes' if topic.batched else ''} "
        f"| {_keeper(topic)} |"
        for topic in TOPICS.values()
    ]
    return "\n".join(
        [
            "# Topics",
            "",
            f"<!-- {GENERATED} -->",
            "",
            "Declared in `contracts/topics.py`; `python -m app topics --apply` creates them, `--check` and `--diff` "
            "compare the broker with them, and nothing deletes them.",
            "",
            "| topic | messages | key | partitions | kept | in-sync replicas | batched | unreadable records go to |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            "All writers are idempotent and await every in-sync replica (`acks=all`). "
            f"The sources of batched topics wait up to {LINGER_MS} ms to fill {BATCH_BYTES // 1024} KB and compress "
            f"with {COMPRESSION}. Agents do not wait: they hand over the outputs of a whole batch and await them "
            "together, so a wait would only be added to the way of an order.",
            "",
            "Market topics are partitioned by instrument, by the CRC-32 of its name; a message keyed `*` concerns its "
            "whole partition. Everything behind the cross-section has one partition, and so a total order.",
            "",
        ]
    )


def contracts_page() -> str:
    """All messages in one table."""
    carriers = {name: [t.name for t in TOPICS.values() if name in t.messages] for name in MESSAGES}
    rows = []
    for name, message in MESSAGES.items():
        first = (message.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
        topics = ", ".join(f"`{topic}`" for topic in carriers[name])
        schema = f"[schema](../../contracts/schemas/{name}.json)"
        rows.append(f"| `{name}` | {message.__name__} | {message.VERSION} | {first} | {topics} | {schema} |")
    return "\n".join(
        [
            "# Contracts",
            "",
            f"<!-- {GENERATED} -->",
            "",
            "Each message is JSON with a `type` and a `schema_version`; unknown fields, NaN and infinity are refused. "
            "Times are nanoseconds since 1970 UTC, prices inside the desk whole ticks, sizes whole lots; amounts of "
            "money are strings of plain digits.",
            "",
            "| type | class | version | what it says | topics | JSON Schema |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def dead_letters_page() -> str:
    """All reasons in one table."""
    rows = [f"| `{reason}` | {REASONS[reason][0]} | {REASONS[reason][1]} |" for reason in DeadLetterReason]
    return "\n".join(
        [
            "# Dead letters",
            "",
            f"<!-- {GENERATED} -->",
            "",
            "A record that cannot be processed is kept whole in a dead-letter topic, once, with the reason, the "
            "field, its topic, partition and offset. `python -m app deadletters list` counts them, `show` prints one, "
            "`replay` sends it, or a mended copy, to its topic again. The same copy has its effect once, however often "
            "it is replayed.",
            "",
            "| reason | what is wrong | what to do |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def users_page() -> str:
    """What each Kafka user may do."""
    rights = security.rights()
    rows = []
    for user in sorted({acl.user for acl in rights}):
        mine = [acl for acl in rights if acl.user == user and acl.pattern == "literal" and acl.resource == "topic"]
        reads, writes = (
            ", ".join("all" if acl.name == "*" else f"`{acl.name}`" for acl in mine if acl.operation == operation)
            for operation in ("READ", "WRITE")
        )
        owns = any(acl.user == user and acl.operation == "CREATE" for acl in rights)
        rows.append(f"| `{user}` | {reads} | {writes} | {f'`{user}-*`' if owns else ''} |")
    return "\n".join(
        [
            "# Kafka users",
            "",
            f"<!-- {GENERATED} -->",
            "",
            "One user for each agent group, with the rights its agents need, from `agents/catalogue.py` by way of "
            "`app/security.py`. Whatever is not in this table the broker denies. `python -m app security --apply` "
            "grants it, as the administrator, who also creates topics and replays dead letters; "
            "`make demo SECURE=1` runs the desk this way.",
            "",
            "| user | reads | writes | owns (its changelogs) |",
            "|---|---|---|---|",
            *rows,
            "",
            "Users sign in with SCRAM-SHA-256, in paper and prod over TLS (`kafka.security: SASL_SSL`, `kafka.ca`); "
            "`FLOWGATE_KAFKA__USER` and `FLOWGATE_KAFKA__PASSWORD` name them to a process.",
            "",
        ]
    )


def helm_values() -> str:
    """Values of the Helm chart for the job that creates the topics."""
    topics = [
        {"name": topic.name, "partitions": topic.partitions, "config": topic.config(PRODUCTION_REPLICAS)}
        for topic in TOPICS.values()
    ]
    values = {"topics": {"replication": PRODUCTION_REPLICAS, "list": topics}}
    return f"# {GENERATED}\n" + yaml.safe_dump(values, sort_keys=False)


def _names(topic: Topic) -> str:
    return ", ".join(f"`{name}`" for name in topic.messages)


def _retention(topic: Topic) -> str:
    if topic.cleanup == "compact":
        return "the newest of each key"
    hours = topic.retention_ms // HOUR_MS
    return f"{hours // 24} d" if hours % 24 == 0 else f"{hours} h"


def _keeper(topic: Topic) -> str:
    return f"`{topic.dead_letters.name}`, by {topic.keeper}" if topic.dead_letters else ""
