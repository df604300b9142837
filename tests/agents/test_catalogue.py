"""The catalogue: agents, tables, topics and groups fit together."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from agents.catalogue import GROUPS, catalogue
from agents.spec import AgentSpec
from app import settings
from app.stack import ROOT
from contracts.topics import TOPICS, Topic
from tests.agents.desk import specs

AGENTS = {spec.name: spec for spec in specs()}


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(spec.name for spec in specs()).items() if count > 1] == []


def test_every_group_is_known_and_its_agents_say_so() -> None:
    desk = settings.load().desk
    by_group = [spec.name for group in GROUPS for spec in catalogue(group, desk, "")]
    assert by_group == list(AGENTS)
    assert {spec.group for spec in specs()} <= set(GROUPS)
    for group in GROUPS:
        assert {spec.group for spec in catalogue(group, desk, "")} <= {group}


@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
def test_topics_of_an_agent_are_declared(agent: AgentSpec) -> None:
    named = [*agent.sources, agent.forward, *agent.outputs]
    module = sys.modules[agent.step.__module__]
    named += [value for value in vars(module).values() if isinstance(value, Topic)]
    assert agent.sources
    assert all(TOPICS[topic.name] is topic for topic in named if topic is not None)


@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
def test_a_table_has_the_partitions_of_its_agent_s_sources(agent: AgentSpec) -> None:
    assert agent.table is not None
    assert agent.table.partitions == max(topic.partitions for topic in agent.sources)


@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
def test_an_agent_is_explained_in_one_line(agent: AgentSpec) -> None:
    assert agent.help
    assert "\n" not in agent.help


@pytest.mark.parametrize("group", ["ingest", "execution", "risk", "gates"])
def test_a_group_does_not_import_what_only_others_need(group: str) -> None:
    """Importing is nearly all of the time that a worker needs to start."""
    look = (
        "import sys; from agents.catalogue import catalogue; from app import settings; "
        f"catalogue({group!r}, settings.load().desk, ''); print({{'numpy', 'scipy', 'cvxpy'}} & sys.modules.keys())"
    )
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "set()"


def test_a_table_belongs_to_one_group() -> None:
    owners = {(spec.table.name, spec.group) for spec in specs() if spec.table is not None}
    assert max(Counter(name for name, _ in owners).values()) == 1


def test_every_topic_has_a_reader_or_is_there_for_people() -> None:
    read = {topic.name for spec in specs() for topic in spec.sources}
    for_people = {"alerts", "decisions", "portfolio_targets"}
    assert TOPICS.keys() - read == for_people | {"merge_order"}


def test_the_kill_switch_hears_of_every_dead_letter() -> None:
    kept = {topic.dead_letters.name for topic in TOPICS.values() if topic.dead_letters is not None}
    assert kept <= {topic.name for topic in AGENTS["killswitch"].sources}


def test_an_agent_with_several_sources_has_one_partition_and_a_table_to_itself_so_its_order_is_one() -> None:
    merging = [spec for spec in specs() if spec.merges]
    assert {topic.partitions for spec in merging for topic in spec.sources} == {1}
    owners = Counter(spec.table.name for spec in specs() if spec.table is not None)
    assert {owners[spec.table.name] for spec in merging if spec.table is not None} == {1}
    assert all(spec.table is not None for spec in merging)
