"""The three topics as code: made with the settings that a vote log needs, and checked for them.

Nothing that was not read and archived may be deleted for its age or its size: Kafka counts a record's age from its
time, and by default deletes after seven days. So topics are kept for ever, the broker's clock stamps each record
(the voter's own time stays in the vote), and what must not be lost is written to two brokers where there are three.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from confluent_kafka import KafkaError
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
    TopicDescription,
)
from confluent_kafka.cimpl import NewTopic

from pipeline.contracts.log import CONTROL, MATCHUPS, VOTES
from pipeline.eventlog.kafka.client import ANSWER_SECONDS, Administrator, LogDeniedError
from pipeline.eventlog.kafka.settings import KafkaSettings

PARTITIONS: Final = {VOTES: 8, CONTROL: 1, MATCHUPS: 1}
"""Votes are spread, so that readers can share them; the order of control events matters, so these are not."""

COPIES: Final = 3
"""Of each partition, where there are that many brokers."""

SETTINGS: Final = {
    "cleanup.policy": "delete",  # compaction would drop all but the last vote of a key
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
    # A record of 1 MiB and its batch; what is larger than the job takes must reach it, to become a dead letter.
    "max.message.bytes": str(2 << 20),
    "unclean.leader.election.enable": "false",  # a broker that lags must not lead, and so drop votes
}
"""Of every topic; in check and in repair, too."""

_IN_SYNC = "min.insync.replicas"
_WHY: Final = {
    "cleanup.policy": "votes with equal keys would be thrown away",
    "retention.ms": "votes are deleted when they get older, read or not",
    "retention.bytes": "votes are deleted when there are more, read or not",
    "message.timestamp.type": "append times would be the producers' and could be anything",
    "max.message.bytes": "records of 1 MiB are refused",
    "unclean.leader.election.enable": "acknowledged votes may be lost with a broker",
    _IN_SYNC: "acknowledged votes may be on one broker only",
}

_TOO_MANY: Final = "nothing can be written while a broker is down"


@dataclass(frozen=True, slots=True)
class TopicChange:
    """What was done to a topic; `change` is ``unchanged``, or says it in words."""

    topic: str
    change: str


@dataclass(frozen=True, slots=True)
class TopicFinding:
    """One thing seen at a topic: `ok`, or `bad` with what to do about it in `advice`."""

    topic: str
    status: Literal["ok", "bad"]
    detail: str
    advice: str | None = None


def create_topics(settings: KafkaSettings, partitions: Mapping[str, int] = PARTITIONS) -> list[str]:
    """Create the topics that are missing, with so many partitions; return which. Those that exist stay as they are.

    So do topics that this login may not look up: a voter need not know the others.

    Raises
    ------
    LogError
        Out of reach (`LogUnavailable`), or not logged in.
    """
    return _create_missing(Administrator(settings), settings, partitions)


def apply_topics(
    settings: KafkaSettings, partitions: Mapping[str, int] = PARTITIONS, *, grow: bool = True
) -> list[TopicChange]:
    """Make topics what they should be: create them, add partitions up to `partitions`, mend their settings.

    Partitions are never taken away, and the number of copies of a topic that exists stays as it is. Without `grow`,
    so does the number of its partitions.

    Raises
    ------
    LogError
        Out of reach (`LogUnavailable`), not logged in, or not allowed.
    """
    administrator = Administrator(settings)
    made = _create_missing(administrator, settings, partitions)
    changes = []
    for topic, count in partitions.items():
        name = settings.topic_name(topic)
        if topic in made:
            changes.append(TopicChange(name, "created"))
            continue
        found = administrator.describe_topic(topic)
        assert found is not None
        done = []
        if grow and count > len(found.partitions):
            _add_partitions(administrator, topic, name, count)
            done.append(f"partitions {len(found.partitions)} -> {count}")
        wrong = list(_find_wrong_settings(_read_settings(administrator, topic, name), _copies(found)))
        _set(administrator, topic, name, {key: wanted for key, _, wanted in wrong})
        done += [f"{key} {value} -> {wanted}" for key, value, wanted in wrong]
        changes.append(TopicChange(name, ", ".join(done) or "unchanged"))
    return changes


def check_topics(settings: KafkaSettings, partitions: Mapping[str, int] = PARTITIONS) -> list[TopicFinding]:
    """Compare the topics named in `partitions` with what a vote log needs: one `ok`, or each thing that is bad.

    Raises
    ------
    LogError
        Out of reach (`LogUnavailable`), not logged in, or not allowed.
    """
    administrator = Administrator(settings)
    brokers = _count_brokers(administrator)
    findings = []
    for topic in partitions:
        name = settings.topic_name(topic)
        found = administrator.describe_topic(topic)
        if found is None:
            advice = f"kwise topics create {settings.url}"
            findings.append(TopicFinding(name, "bad", "there is no such topic", advice))
            continue
        values = _read_settings(administrator, topic, name)
        bad = list(_find_faults(settings.url, topic, name, found, values, brokers))
        count, copies = len(found.partitions), _copies(found)
        well = f"{count} partition{'s' * (count != 1)}, {copies} cop{'y' if copies == 1 else 'ies'}, kept for ever"
        findings += bad or [TopicFinding(name, "ok", well)]
    return findings


def _find_faults(
    url: str, topic: str, name: str, found: TopicDescription, values: Mapping[str, str], brokers: int
) -> Iterator[TopicFinding]:
    copies = _copies(found)
    for key, value, wanted in _find_wrong_settings(values, copies):
        why = _TOO_MANY if key == _IN_SYNC and int(value) > int(wanted) else _WHY[key]
        detail = f"{key} is {value}, not {wanted}: {why}"
        yield TopicFinding(name, "bad", detail, f"kwise topics create {url}")
    if copies < (wanted_copies := min(COPIES, brokers)):
        yield TopicFinding(
            name,
            "bad",
            f"{copies} cop{'y' if copies == 1 else 'ies'} on {brokers} brokers: votes are lost with a broker",
            f"have kafka-reassign-partitions.sh give it {wanted_copies}, or use a new prefix",
        )
    if topic == CONTROL and len(found.partitions) > 1:
        yield TopicFinding(
            name,
            "bad",
            f"{len(found.partitions)} partitions: the order of control events is lost",
            "use a new prefix; partitions cannot be taken away",
        )
    needed = int(values[_IN_SYNC])
    lagging = [part.id for part in found.partitions if part.leader is None or len(part.isr) < needed]
    if lagging:
        listed = ", ".join(map(str, lagging))
        detail = f"partition {listed}: fewer than {needed} copies are up to date, so that nothing can be written"
        yield TopicFinding(name, "bad", detail, "start the brokers that are down, and wait until they have caught up")


def _find_wrong_settings(values: Mapping[str, str], copies: int) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and wanted value of each setting that is wrong."""
    for key, wanted in SETTINGS.items():
        enough = key == "max.message.bytes" and int(values[key]) >= int(wanted)
        if values[key] != wanted and not enough:
            yield key, values[key], wanted
    wanted = _in_sync(copies)
    # More than asked for is a choice; as many as there are copies is not: one broker less and nothing is taken.
    if not int(wanted) <= int(values[_IN_SYNC]) <= max(1, copies - 1):
        yield _IN_SYNC, values[_IN_SYNC], wanted


def _in_sync(copies: int) -> str:
    return "2" if copies >= COPIES else "1"


def _copies(found: TopicDescription) -> int:
    return min(len(part.replicas) for part in found.partitions)


def _create_missing(administrator: Administrator, settings: KafkaSettings, partitions: Mapping[str, int]) -> list[str]:
    names = {topic: settings.topic_name(topic) for topic in partitions}
    missing = [topic for topic in partitions if _is_missing(administrator, topic)]
    if not missing:
        return []
    copies = min(COPIES, _count_brokers(administrator))
    config = {**SETTINGS, _IN_SYNC: _in_sync(copies)}
    made = []
    for topic in missing:
        new = NewTopic(names[topic], partitions[topic], copies, config=config)
        if administrator.change(topic, "create_topics", [new], already=KafkaError.TOPIC_ALREADY_EXISTS):
            made.append(topic)
    for topic in missing:
        _await_leaders(administrator, topic)
    return made


def _is_missing(administrator: Administrator, topic: str) -> bool:
    try:
        return administrator.describe_topic(topic) is None
    except LogDeniedError:
        return False


def _await_leaders(administrator: Administrator, topic: str) -> None:
    """Wait until the brokers know the leaders of a topic that was just made."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        found = administrator.describe_topic(topic)
        if found is not None and all(part.leader is not None for part in found.partitions):
            return
        administrator.client.poll(0.05)


def _add_partitions(administrator: Administrator, topic: str, name: str, count: int) -> None:
    administrator.change(
        topic, "create_partitions", [NewPartitions(name, count)], already=KafkaError.INVALID_PARTITIONS
    )


def _set(administrator: Administrator, topic: str, name: str, values: Mapping[str, str]) -> None:
    if not values:
        return
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in values.items()]
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    administrator.change(topic, "incremental_alter_configs", [resource])


def _read_settings(administrator: Administrator, topic: str, name: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, name)

    def read() -> dict[str, str]:
        found = administrator.client.describe_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()
        return {key: entry.value for key, entry in found.items()}

    return administrator.ask(topic, read, known=True)


def _count_brokers(administrator: Administrator) -> int:
    def count() -> int:
        return len(administrator.client.describe_cluster(request_timeout=ANSWER_SECONDS).result().nodes)

    return administrator.ask(None, count)
