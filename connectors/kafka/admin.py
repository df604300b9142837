"""Topics on a broker: create what is missing, compare what is there, delete nothing."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from contracts.topics import Topic


async def create_missing(bootstrap: str, topics: Sequence[Topic], replication: int) -> list[str]:
    """Create the topics that are not there; returns their names."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        present = set(await admin.list_topics())
        missing = [topic for topic in topics if topic.name not in present]
        if missing:
            new = [NewTopic(t.name, t.partitions, replication, topic_configs=t.config) for t in missing]
            await admin.create_topics(new)
        return [topic.name for topic in missing]
    finally:
        await admin.close()


async def differences(bootstrap: str, topics: Sequence[Topic]) -> list[str]:
    """One line for each topic that is missing, or whose partitions or configuration are not as declared."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        described = {info["topic"]: info for info in await admin.describe_topics()}
        there = [topic for topic in topics if topic.name in described]
        lines = [f"{topic.name}: missing" for topic in topics if topic.name not in described]
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in there]
        configs: dict[str, dict[str, str]] = {}
        for response in await admin.describe_configs(resources) if resources else []:
            for _code, _text, _kind, name, entries in response.resources:
                configs[name] = {entry[0]: entry[1] for entry in entries}
        for topic in there:
            partitions = len(described[topic.name]["partitions"])
            if partitions != topic.partitions:
                lines.append(f"{topic.name}: {partitions} partitions, declared {topic.partitions}")
            for setting, wanted in topic.config.items():
                actual = configs.get(topic.name, {}).get(setting)
                if actual != wanted:
                    lines.append(f"{topic.name}: {setting}={actual}, declared {wanted}")
        return lines
    finally:
        await admin.close()
