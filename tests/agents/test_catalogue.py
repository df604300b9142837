"""The catalogue: agents, tables, topics and groups fit together."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from agents.catalogue import GROUPS, catalogue
from agents.spec import AgentSpec
from app import settings
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


def test_a_table_belongs_to_one_group() -> None:
    owners = {(spec.table.name, spec.group) for spec in specs() if spec.table is not None}
    assert max(Counter(name for name, _ in owners).values()) == 1


def test_every_topic_has_a_reader_or_is_there_for_people() -> None:
    read = {topic.name for spec in specs() for topic in spec.sources}
    for_people = {"alerts", "decisions", "portfolio_targets", *(name for name in TOPICS if name.startswith("dlq_"))}
    assert TOPICS.keys() - read == for_people
