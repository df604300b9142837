"""Topics on a broker: create what is missing, compare what is there, delete nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from connectors.kafka.access import Access
from contracts.topics import Topic


@asynccontextmanager
async def administrator(access: Access) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected admin client."""
    admin = AIOKafkaAdminClient(**access.options())
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def create_missing(access: Access, topics: Sequence[Topic], replication: int) -> list[str]:
    """Create the topics that are not there; returns their names."""
    async with administrator(access) as admin:
        present = set(await admin.list_topics())
        missing = [topic for topic in topics if topic.name not in present]
        if missing:
            new = [NewTopic(t.name, t.partitions, replication, topic_configs=t.config(replication)) for t in missing]
            await admin.create_topics(new)
        return [topic.name for topic in missing]


async def differences(access: Access, topics: Sequence[Topic], replication: int) -> list[str]:
    """One line for each topic that is missing, or whose partitions or configuration are not as declared."""
    async with administrator(access) as admin:
        described = {info["topic"]: info for info in await admin.describe_topics()}
        there = [topic for topic in topics if topic.name in described]
        lines = [f"{topic.name}: missing" for topic in topics if topic.name not in described]
        configs = await _configs(admin, there)
    for topic in there:
        partitions = len(described[topic.name]["partitions"])
        if partitions != topic.partitions:
            lines.append(f"{topic.name}: {partitions} partitions, declared {topic.partitions}")
        for setting, wanted in topic.config(replication).items():
            actual = configs.get(topic.name, {}).get(setting)
            if actual != wanted:
                lines.append(f"{topic.name}: {setting}={actual}, declared {wanted}")
    return lines


async def _configs(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    configs: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources) if resources else []:
        for _code, _text, _kind, name, entries in response.resources:
            configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs
