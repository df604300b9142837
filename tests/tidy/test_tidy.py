"""What reviewers would otherwise have to say again and again. Each message says what to do instead."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.__main__ import parser

ROOT = Path(__file__).resolve().parents[2]

LINES_MAX = 400

# Written in pieces, so that this file does not hold what it looks for.
WORKPLACES = ("/wor" + "k/", "/tmp/" + "lab", "/ho" + "me/", "/Us" + "ers/")
REGISTRIES = ("pypi." + "org", "python" + "hosted", "maven." + "org", "maven.apache." + "org/maven2", "docker" + ".io")
LATER = re.compile("TO" + "DO|FIX" + "ME|XX" + "X")
SLEEP = "time." + "sleep("

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
NAMED = re.compile(r"`([a-z_]+(?:/[\w.-]+)+\.(?:py|yaml|md|svg))(?::(\w+(?:\.\w+)?))?`")
"""A file in a document, alone or with a name in it: `agents/ofi.py`, `agents/ofi.py:close`."""


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Every text file of the project that git knows or would take."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: git says which files are the project's; clone it to run this test")
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    paths = sorted({ROOT / name for name in names if name})
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


def python(files: list[Path], *folders: str) -> list[Path]:
    return [p for p in files if p.suffix == ".py" and (not folders or p.relative_to(ROOT).parts[0] in folders)]


def documents(files: list[Path]) -> list[Path]:
    return [path for path in files if path.suffix == ".md"]


def places(files: list[Path], wanted: re.Pattern[str]) -> list[str]:
    """file:line of each line that matches."""
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if wanted.search(line)
    ]


def any_of(*texts: str) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(text) for text in texts))


def test_no_file_names_a_folder_of_one_machine(files: list[Path]) -> None:
    found = places(files, any_of(*WORKPLACES))
    assert not found, f"use a path relative to the repository, or a setting: {found}"


def test_no_file_names_a_registry(files: list[Path]) -> None:
    found = places(files, any_of(*REGISTRIES))
    assert not found, f"leave the host to the client's own configuration: {found}"


def test_no_file_puts_something_off(files: list[Path]) -> None:
    found = places([path for path in files if path.suffix != ".lock"], LATER)
    assert not found, f"do it, or open an issue: {found}"


def test_no_test_sleeps(files: list[Path]) -> None:
    found = places(python(files, "tests"), any_of(SLEEP))
    assert not found, f"wait for a condition or an event, with a deadline: {found}"


def test_no_module_is_too_long_to_hold_in_the_head(files: list[Path]) -> None:
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python(files)}
    found = [
        f"{path.relative_to(ROOT)} ({size} lines)"
        for path, size in sizes.items()
        if size > LINES_MAX and path.relative_to(ROOT).parts[0] != "tests"
    ]
    assert not found, f"over {LINES_MAX} lines: find the second noun and move it to a file of its own: {found}"


def public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Functions of the module; methods are explained by their class."""
    return (node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"))


def test_every_public_function_of_quant_says_what_it_does(files: list[Path]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in python(files, "quant")
        for function in public_functions(ast.parse(path.read_text(encoding="utf-8")))
        if not ast.get_docstring(function)
    ]
    assert not found, f"give shapes, units, errors and the source in a docstring: {found}"


def test_every_link_in_a_document_leads_somewhere(files: list[Path]) -> None:
    found = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents(files)
        for target in LINK.findall(document.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:") and not (document.parent / target).exists()
    ]
    assert not found, f"mend the link or add the file: {found}"


def names_in(path: Path) -> set[str]:
    """Names a module defines: functions, classes with their members, assignments."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        found |= defined(node)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{member}" for child in node.body for member in defined(child)}
    return found


def defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_every_file_and_name_that_a_document_mentions_exists(files: list[Path]) -> None:
    found = []
    for document in documents(files):
        for name, member in NAMED.findall(document.read_text(encoding="utf-8")):
            path = ROOT / name
            if not path.exists() or (member and member not in names_in(path)):
                found.append(f"{document.relative_to(ROOT)}: {name}{':' if member else ''}{member}")
    assert not found, f"the code has moved on; move the document with it: {found}"


def test_every_command_in_the_readme_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```.*?\n(.*?)```", readme, re.DOTALL) + re.findall(r"`([^`\n]+)`", readme))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = {name for action in parser()._actions for name in getattr(action, "choices", None) or ()}
    made = set(re.findall(r"\bmake ([a-z]+)", code))
    run = set(re.findall(r"python -m app ([a-z]+)", code))
    assert made
    assert made <= targets, f"no make target: {made - targets}"
    assert run <= commands, f"no command of python -m app: {run - commands}"


def test_the_tests_in_the_readme_are_those_that_ci_runs() -> None:
    last_line = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
    blocks = re.findall(r"```.*?\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [line.partition("#")[0].strip() for line in blocks[0].splitlines()]
    assert last_line in commands, f"the first commands in README.md are {commands}, CI runs {last_line!r}"
