"""`python -m app schemas`: the JSON Schemas in `contracts/schemas`, and what changed since they were released."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from contracts.compatibility import full
from contracts.messages import MESSAGES, json_schema

FOLDER: Final = Path(__file__).resolve().parent.parent / "contracts" / "schemas"
WRITE: Final = "python -m app schemas --write"


def main(action: str) -> int:
    """`write` the schemas, `check` them, or `release` them: keep today's as the ones later changes must live with."""
    if action == "write":
        return _say(write(FOLDER), "all schemas were up to date", status=0)
    problems = [*stale(FOLDER), *breaking(FOLDER)]
    if problems:
        return _say(problems, "", status=1)
    if action == "release":
        return _say(release(FOLDER), "all schemas were released before", status=0)
    return _say([], "all schemas are up to date and compatible with the released ones", status=0)


def _say(lines: list[str], otherwise: str, *, status: int) -> int:
    sys.stdout.write("".join(f"{line}\n" for line in lines) or f"{otherwise}\n")
    return status


def render(schema: dict[str, Any]) -> str:
    """The text of a schema's file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def wanted() -> dict[str, str]:
    """File name and text of each schema, from the contracts as they are in code."""
    return {f"{name}.json": render(json_schema(message)) for name, message in MESSAGES.items()}


def write(folder: Path) -> list[str]:
    """Write what is stale and remove what no contract has; one line for each file touched."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, text in wanted().items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            lines.append(f"wrote {name}")
    for path in sorted(folder.glob("*.json")):
        if path.name not in wanted():
            path.unlink()
            lines.append(f"removed {path.name}")
    return lines


def stale(folder: Path) -> list[str]:
    """One line for each file that is not as the contracts say."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    names = sorted(name for name in texts.keys() | wanted().keys() if texts.get(name) != wanted().get(name))
    return [f"contracts/schemas/{name} is stale: run {WRITE}" for name in names]


def released(folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Released schemas by message type and version."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for path in sorted((folder / "released").glob("*.json")):
        name, _, version = path.stem.rpartition(".v")
        found.setdefault(name, {})[int(version)] = json.loads(path.read_text(encoding="utf-8"))
    return found


def breaking(folder: Path) -> list[str]:
    """One line for each change since the release that readers or writers of the release would not survive."""
    lines = []
    for name, versions in released(folder).items():
        message, last = MESSAGES.get(name), max(versions)
        if message is None:
            lines.append(f"{name}: released and gone; topics still hold it, so keep its contract for their retention")
        elif last == message.VERSION:
            problems = full(json_schema(message), versions[last])
            lines.extend(f"{name}: {problem}; make it version {last + 1} with an upcast" for problem in problems)
        elif last + 1 != message.VERSION:
            lines.append(
                f"{name}: version {message.VERSION} after {last}; readers know one version back, so take {last + 1}"
            )
        elif "upcast" not in vars(message):
            lines.append(f"{name}: version {message.VERSION} has no upcast from {last}")
    return lines


def release(folder: Path) -> list[str]:
    """Keep the schema of each version that has not been released; one line for each."""
    target = folder / "released"
    target.mkdir(parents=True, exist_ok=True)
    before, lines = released(folder), []
    for name, message in MESSAGES.items():
        if message.VERSION not in before.get(name, {}):
            path = target / f"{name}.v{message.VERSION}.json"
            path.write_text(render(json_schema(message)), encoding="utf-8")
            lines.append(f"released {path.name}")
    return lines
