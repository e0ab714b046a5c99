"""A guarded broker: each role can do its work and nothing else, and whoever is kept out is told why."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import TopicAuthorizationFailedError

from infra.kafka import KafkaBroker
from infra.kafka.certificates import make_authority, make_certificate
from infra.kafka.node import SHORT_LIVED
from infra.kafka.security import make_mutual_security, make_security
from pipeline.contracts.log import CONTROL, MATCHUPS, VOTES, LogError, LogUnavailable, Record
from pipeline.eventlog.kafka import client
from pipeline.eventlog.kafka.grants import delete_login, grant_role, revoke_grants, set_password
from pipeline.eventlog.kafka.log import KafkaLog
from pipeline.eventlog.kafka.settings import KafkaSettings, parse_kafka_url
from pipeline.eventlog.kafka.topics import apply_topics, check_topics, create_topics
from pipeline.eventlog.kafka.writer import KafkaWriter
from producers.vote_writer import VoteWriter
from tests.conftest import wait_until

pytestmark = pytest.mark.kafka

Login = Callable[[str], KafkaSettings]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    folder = tmp_path_factory.mktemp("guarded")
    security = make_security(folder / "security", ["ann"])
    with KafkaBroker(folder / "node-1", security=security, java_options=SHORT_LIVED) as broker:
        yield broker


@pytest.fixture
def login(guarded: KafkaBroker, kafka_prefix: str) -> Login:
    """Settings of a user whose login was made with the cluster."""

    def settings(user: str) -> KafkaSettings:
        assert guarded.security.admin is not None
        file = guarded.security.admin.with_name(f"{user}.toml")
        url = f"kafka://{guarded.bootstrap}/{kafka_prefix}votes"
        return parse_kafka_url(url, {"KWISE_KAFKA_FILE": str(file)})

    return settings


@pytest.fixture
def admin(login: Login) -> KafkaSettings:
    """Settings of the administrator; the topics are there."""
    create_topics(login("admin"), {VOTES: 1, CONTROL: 1, MATCHUPS: 1})
    return login("admin")


@pytest.fixture
def ann(admin: KafkaSettings, login: Login) -> Iterator[KafkaSettings]:
    """Settings of somebody who may do nothing yet."""
    yield login("ann")
    revoke_grants(admin, "ann")


def write(settings: KafkaSettings, topic: str) -> str:
    """Write a record; return ``done``, or what was said."""
    writer = KafkaWriter(settings, patience_s=20)
    try:
        writer.append(topic, [Record(b"x")])
    except LogError as error:
        return str(error)
    finally:
        writer.close()
    return "done"


def read(settings: KafkaSettings, topic: str) -> str:
    """Read the first record of a topic, in no group; return ``done``, or what was said.

    Whoever may read a topic may look it up, too.
    """
    try:
        client.Administrator(settings).describe_topic(topic)
    except LogError as error:
        return str(error)
    name = settings.topic_name(topic)
    consumer = KafkaConsumer(**settings.kafka_python(), group_id=None, auto_offset_reset="earliest")
    try:
        consumer.assign([TopicPartition(name, 0)])
        wait_until(lambda: consumer.poll(500), 20)
    except TopicAuthorizationFailedError:
        return refusal(settings, topic)
    finally:
        consumer.close()
    return "done"


def refusal(settings: KafkaSettings, topic: str) -> str:
    return f"{settings.username} may not use {settings.topic_name(topic)}"


def test_a_login_alone_may_do_nothing(ann: KafkaSettings) -> None:
    for topic in (VOTES, CONTROL, MATCHUPS):
        assert refusal(ann, topic) in write(ann, topic)
    assert refusal(ann, VOTES) in read(ann, VOTES)
    with pytest.raises(LogError, match="ann may not use"):
        check_topics(ann)


def test_a_voter_writes_votes_and_can_do_nothing_else(admin: KafkaSettings, ann: KafkaSettings) -> None:
    grant_role(admin, "voter", "ann")
    wait_until(lambda: write(ann, VOTES) == "done")
    assert read(admin, VOTES) == "done"
    assert refusal(ann, VOTES) in read(ann, VOTES)
    for topic in (CONTROL, MATCHUPS):
        assert refusal(ann, topic) in write(ann, topic)
        assert refusal(ann, topic) in read(ann, topic)
    create_topics(ann)  # what she may not look up is left to others
    with pytest.raises(LogError, match="ann may not use"):
        apply_topics(ann)
    with pytest.raises(LogError, match="ann may not do this"):
        grant_role(ann, "operator", "ann")
    with pytest.raises(LogError, match="ann may not do this"):
        set_password(ann, "admin", "mine now")


def test_a_job_reads_votes_and_control_and_writes_matchups(admin: KafkaSettings, ann: KafkaSettings) -> None:
    grant_role(admin, "job", "ann")
    assert {write(admin, topic) for topic in (VOTES, CONTROL)} == {"done"}
    wait_until(lambda: write(ann, MATCHUPS) == "done")
    assert read(ann, VOTES) == read(ann, CONTROL) == "done"
    assert refusal(ann, MATCHUPS) in read(ann, MATCHUPS)
    reader = KafkaLog(ann).reader({}, live=True)
    assert wait_until(lambda: len(reader.poll(VOTES, 10, 0.2)), 20) == 1
    reader.close()
    assert refusal(ann, VOTES) in write(ann, VOTES)
    assert refusal(ann, CONTROL) in write(ann, CONTROL)


def test_an_operator_makes_topics_and_writes_control_events(admin: KafkaSettings, ann: KafkaSettings) -> None:
    grant_role(admin, "operator", "ann")
    wait_until(lambda: write(ann, CONTROL) == "done")
    new = replace(ann, prefix=f"{ann.prefix}new-")
    grant_role(replace(admin, prefix=new.prefix), "operator", "ann")
    wait_until(lambda: create_topics(new, {VOTES: 1}) == [VOTES])
    assert [change.change for change in apply_topics(new, {VOTES: 2})] == ["partitions 1 -> 2"]
    assert [found.status for found in check_topics(new, {VOTES: 1})] == ["ok"]
    with pytest.raises(LogError, match="ann may not do this"):
        grant_role(ann, "voter", "bob")
    revoke_grants(replace(admin, prefix=new.prefix), "ann")


def test_a_grant_is_for_its_prefix_only(admin: KafkaSettings, ann: KafkaSettings) -> None:
    create_topics(other := replace(admin, prefix=f"{admin.prefix}other-"), {VOTES: 1})
    grant_role(admin, "voter", "ann")
    wait_until(lambda: write(ann, VOTES) == "done")
    assert "ann may not use" in write(replace(ann, prefix=other.prefix), VOTES)


def test_what_was_granted_is_taken_back(admin: KafkaSettings, ann: KafkaSettings) -> None:
    granted = grant_role(admin, "voter", "ann")
    assert grant_role(admin, "voter", "ann") == granted
    wait_until(lambda: write(ann, VOTES) == "done")
    assert revoke_grants(admin, "ann") == granted
    wait_until(lambda: refusal(ann, VOTES) in write(ann, VOTES))
    assert revoke_grants(admin, "ann") == []


def test_logins_are_made_changed_and_deleted(
    admin: KafkaSettings, ann: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 2.0)
    bob = replace(ann, username="bob", password="first")
    grant_role(admin, "voter", "bob")
    set_password(admin, "bob", "first")
    wait_until(lambda: write(bob, VOTES) == "done")
    set_password(admin, "bob", "second")
    wait_until(lambda: write(replace(bob, password="second"), VOTES) == "done")
    with pytest.raises(LogError, match="the login failed"):
        KafkaLog(bob).preflight([VOTES])
    assert delete_login(admin, "bob")
    assert not delete_login(admin, "bob")
    with pytest.raises(LogError, match="the login failed"):
        KafkaLog(replace(bob, password="second")).preflight([VOTES])


def change_ca(settings: KafkaSettings, folder: Path) -> KafkaSettings:
    return replace(settings, ca=make_authority(folder))


@pytest.mark.parametrize(
    ("change", "retriable", "said"),
    [
        (
            lambda s, _: replace(s, password="wrong"),
            False,
            "the login failed.*invalid credentials.*KWISE_KAFKA_USERNAME",
        ),
        (lambda s, _: replace(s, username="nobody"), False, "the login failed.*invalid credentials"),
        (lambda s, _: replace(s, mechanism="PLAIN"), False, "the login failed.*supported mechanisms: SCRAM-SHA-512"),
        (change_ca, False, "certificate could not be verified.*_CA"),
        (lambda s, _: replace(s, ca=None), False, "certificate could not be verified.*_CA"),
        (lambda s, _: replace(s, tls=False, ca=None), False, "the broker speaks TLS.*set KWISE_KAFKA_TLS=1"),
        (
            lambda s, _: replace(s, tls=False, ca=None, username=None, password=None),
            False,
            "the broker speaks TLS.*set KWISE_KAFKA_TLS=1",
        ),
        (lambda s, _: replace(s, username=None, password=None), True, "may want a login.*KWISE_KAFKA_USERNAME"),
    ],
    ids=["password", "user", "mechanism", "authority", "no authority", "no TLS", "nothing", "no login"],
)
def test_whoever_cannot_get_in_is_told_why(
    admin: KafkaSettings,
    tmp_path: Path,
    change: Callable[[KafkaSettings, Path], KafkaSettings],
    retriable: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 2.0)
    with pytest.raises(LogError, match=said) as failure:
        KafkaLog(change(admin, tmp_path)).preflight([VOTES])
    assert failure.value.retriable is retriable
    assert str(admin.password) not in str(failure.value)


def test_a_writer_with_a_wrong_password_does_not_wait_for_ever(admin: KafkaSettings) -> None:
    writer = KafkaWriter(replace(admin, password="wrong"), patience_s=600)
    with pytest.raises(LogError, match="the login failed"):
        writer.append(VOTES, [Record(b"x")])


def test_the_client_library_needs_no_more_than_a_voter_may(
    admin: KafkaSettings, ann: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ann.ca is not None
    grant_role(admin, "voter", "ann")
    wait_until(lambda: write(ann, VOTES) == "done")
    monkeypatch.setenv("KWISE_KAFKA_FILE", str(ann.ca.with_name("ann.toml")))
    with VoteWriter(ann.url, check=False) as writer:
        writer.write(b'{"vote_id": "v"}')
    assert sum(KafkaLog(admin).ends(VOTES).values()) == 2
    monkeypatch.setattr(client, "ANSWER_SECONDS", 2.0)
    monkeypatch.setenv("KWISE_KAFKA_PASSWORD", "wrong")
    with pytest.raises(LogError, match="the login failed"), VoteWriter(ann.url):
        pass


def test_a_login_at_a_broker_without_logins_is_told_so(
    kafka_url: str, admin: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 2.0)
    open_to_all = parse_kafka_url(kafka_url, {})
    with pytest.raises(LogError, match="connecting to a PLAINTEXT broker"):
        KafkaLog(replace(admin, servers=open_to_all.servers)).preflight([VOTES])
    with pytest.raises(LogError, match="the brokers have no authorizer"):
        grant_role(open_to_all, "voter", "ann")


def test_kafka_python_logs_in_with_the_same_settings(admin: KafkaSettings, ann: KafkaSettings) -> None:
    grant_role(admin, "voter", "ann")
    wait_until(lambda: write(ann, VOTES) == "done")
    producer = KafkaProducer(**ann.kafka_python())
    producer.send(ann.topic_name(VOTES), b"y").get(20)
    with pytest.raises(TopicAuthorizationFailedError):
        producer.send(ann.topic_name(CONTROL), b"y").get(20)
    producer.close()
    consumer = KafkaConsumer(admin.topic_name(VOTES), **admin.kafka_python(), auto_offset_reset="earliest")
    seen: list[bytes] = []

    def have_both() -> bool:
        seen.extend(record.value for records in consumer.poll(500).values() for record in records)
        return seen[-1:] == [b"y"]

    wait_until(have_both, 20)
    consumer.close()


def test_a_certificate_is_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "security"
    security = make_mutual_security(folder)
    certificate, key = make_certificate(folder, "ann")
    with KafkaBroker(tmp_path / "node-1", security=security, java_options=SHORT_LIVED) as broker:
        given = {
            "KWISE_KAFKA_CA": str(security.ca),
            "KWISE_KAFKA_CERTIFICATE": str(certificate),
            "KWISE_KAFKA_KEY": str(key),
        }
        settings = parse_kafka_url(f"kafka://{broker.bootstrap}/votes", given)
        create_topics(settings, {VOTES: 1})
        assert write(settings, VOTES) == "done"
        producer = KafkaProducer(**settings.kafka_python())
        producer.send(VOTES, b"y").get(20)
        producer.close()
        monkeypatch.setattr(client, "ANSWER_SECONDS", 2.0)
        with pytest.raises(LogUnavailable, match="KWISE_KAFKA_CERTIFICATE"):
            KafkaLog(replace(settings, certificate=None, key=None)).preflight([VOTES])
        make_authority(folder, "stranger")
        stranger, strangers_key = make_certificate(folder, "eve", "stranger")
        with pytest.raises(LogUnavailable, match="KWISE_KAFKA_CERTIFICATE"):
            KafkaLog(replace(settings, certificate=stranger, key=strangers_key)).preflight([VOTES])


def test_secrets_are_readable_by_their_owner_only(guarded: KafkaBroker) -> None:
    assert guarded.security.admin is not None
    folder = guarded.security.admin.parent
    secrets = [*folder.glob("*.toml"), *folder.glob("*.key"), folder / "keystore.pem"]
    secrets.append(guarded.folder / "server.properties")
    assert len(secrets) >= 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
