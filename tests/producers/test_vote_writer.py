"""`VoteWriter` on real logs: what arrives, where, and what is said when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from pipeline.contracts.log import LogError, LogUnavailable
from pipeline.contracts.reasons import MAX_RECORD_BYTES, Reason
from pipeline.contracts.vote import Vote, encode_vote
from pipeline.contracts.vote_batch import tabulate_votes
from pipeline.eventlog.kafka.settings import parse_kafka_url
from pipeline.eventlog.kafka.topics import apply_topics
from pipeline.eventlog.partitioner import partitions_of_keys
from producers.errors import DeliveryError, VoteFault
from producers.vote_writer import VoteWriter
from tests.conftest import wait_until
from tests.producers.archives import make_vote
from tests.producers.written import check_places, make_topics, read_log, read_values

KAFKA = pytest.param("kafka", marks=pytest.mark.kafka)
ENVELOPES = [pytest.param("kafka", 7, marks=pytest.mark.kafka), ("sqlite", 7)]
MODES = [*ENVELOPES, pytest.param("kafka", None, marks=pytest.mark.kafka), ("sqlite", None), ("files", None)]


@pytest.fixture
def log_url(request: pytest.FixtureRequest, tmp_path: Path, log: str) -> str:
    """A log of the kind that the test's parameter `log` names."""
    if log == "kafka":
        return make_topics(request.getfixturevalue("kafka_url"))
    return make_topics(f"sqlite:{tmp_path / 'events.db'}" if log == "sqlite" else f"{tmp_path}/log/")


def make_votes(count: int) -> list[Vote]:
    """Return votes of which each third is on the matchup of the one before it."""
    return [make_vote(number, matchup_id=f"m-{number - number // 3}") for number in range(count)]


@pytest.mark.parametrize(("log", "envelope"), MODES)
def test_votes_arrive_once_in_the_partition_of_their_matchup_in_order(log_url: str, envelope: int | None) -> None:
    votes = make_votes(300)
    with VoteWriter(log_url, envelope=envelope) as writer:
        for vote in votes[:100]:
            writer.write(vote)
        assert writer.write_all(iter(votes[100:])) == 200
    check_places(read_log(log_url), votes)


@pytest.mark.parametrize(("log", "envelope"), MODES)
def test_a_vote_may_be_fields_or_json(log_url: str, envelope: int | None) -> None:
    votes = make_votes(4)
    forms: list[Any] = [votes[0], json.loads(encode_vote(votes[1])), encode_vote(votes[2]), encode_vote(votes[3])]
    forms[3] = forms[3].decode()
    with VoteWriter(log_url, envelope=envelope) as writer:
        writer.write_all(forms[:2])
        for form in forms[2:]:
            writer.write(form)
    check_places(read_log(log_url), votes)


@pytest.mark.parametrize(("log", "envelope"), MODES)
def test_a_single_vote_arrives_without_being_asked_for(log_url: str, envelope: int | None) -> None:
    with VoteWriter(log_url, envelope=envelope) as writer:
        writer.write(make_vote(1))
        wait_until(lambda: read_log(log_url).votes)


@pytest.mark.parametrize(("log", "envelope"), MODES)
def test_flush_returns_when_votes_are_in_the_log(log_url: str, envelope: int | None) -> None:
    with VoteWriter(log_url, envelope=envelope, linger=60) as writer:
        writer.flush()
        writer.write_all(make_votes(20))
        writer.flush()
        assert len(read_log(log_url).votes) == 20
        writer.write(make_vote(20))
    assert len(read_log(log_url).votes) == 21


@pytest.mark.parametrize("log", ["sqlite"])
@pytest.mark.parametrize("envelope", [None, 5])
@pytest.mark.parametrize("together", [True, False])
def test_a_faulty_vote_is_refused_and_the_others_are_taken(log_url: str, envelope: int | None, together: bool) -> None:
    votes = make_votes(4)
    faulty = msgspec.structs.replace(votes[2], ranks=(1, 2))
    with VoteWriter(log_url, envelope=envelope) as writer:
        if together:
            with pytest.raises(VoteFault, match="vote 2 of those given: bad_ranks: 2 ranks for 3 models") as caught:
                writer.write_all([*votes[:2], faulty, votes[3]])
        else:
            writer.write_all(votes[:2])
            with pytest.raises(VoteFault, match="bad_ranks: 2 ranks for 3 models") as caught:
                writer.write(faulty)
        assert caught.value.reason is Reason.BAD_RANKS
        with pytest.raises(VoteFault, match="not_json"):
            writer.write(b"{")
        with pytest.raises(VoteFault, match="schema: time is missing"):
            writer.write({"schema": 1})
        with pytest.raises(VoteFault, match="not_json"):
            writer.write({"schema": object()})
    check_places(read_log(log_url), votes[:2])


@pytest.mark.parametrize("log", ["sqlite"])
def test_a_fault_far_on_is_named_by_its_place(log_url: str) -> None:
    votes = [encode_vote(make_vote(number)) for number in range(5_000)]
    with VoteWriter(log_url) as writer, pytest.raises(VoteFault, match="vote 4500 of those given: not_json"):
        writer.write_all([*votes[:4_500], b"{", *votes[4_500:]])
    assert len(read_values(log_url)) == 4_500


@pytest.mark.parametrize("log", ["sqlite"])
def test_unchecked_records_go_as_they_are(log_url: str) -> None:
    faulty = msgspec.structs.replace(make_vote(1), ranks=(1, 2))
    with VoteWriter(log_url, check=False) as writer:
        writer.write(faulty)
        writer.write_all([b"no json", encode_vote(make_vote(2))])
    assert sorted(read_values(log_url)) == sorted([encode_vote(faulty), b"no json", encode_vote(make_vote(2))])


@pytest.mark.parametrize(("log", "envelope"), ENVELOPES)
def test_envelopes_hold_votes_of_one_partition_and_no_more_than_asked(log_url: str, envelope: int) -> None:
    with VoteWriter(log_url, envelope=envelope, linger=60) as writer:
        writer.write_all(make_votes(200))
    held = read_log(log_url)
    sizes = [sum(written.record == record for written in held.votes) for record in range(len(held.values))]
    assert max(sizes) == envelope
    assert sum(size < envelope for size in sizes) <= 4
    assert all(
        len({written.partition for written in held.votes if written.record == record}) == 1
        for record in range(len(held.values))
    )


@pytest.mark.parametrize("log", [KAFKA])
def test_envelopes_of_large_votes_stay_below_a_mebibyte(log_url: str) -> None:
    votes = [make_vote(number, matchup_id="m-1", token="t" * 60_000) for number in range(40)]
    with VoteWriter(log_url, envelope=500) as writer:
        writer.write_all(votes)
    held = read_log(log_url)
    check_places(held, votes)
    assert len(held.values) > 1
    assert max(map(len, held.values)) < MAX_RECORD_BYTES


@pytest.mark.parametrize(("log", "envelope"), ENVELOPES)
def test_rows_go_in_envelopes_in_order_with_single_votes(log_url: str, envelope: int) -> None:
    votes = make_votes(60)
    with VoteWriter(log_url, envelope=envelope) as writer:
        writer.write_all(votes[:10])
        writer.write_rows(pa.Table.from_batches([tabulate_votes(votes[10:45])]))
        writer.write_rows(pa.Table.from_batches([tabulate_votes(votes[45:50])]))
        writer.write_all(votes[50:])
        with pytest.raises(ValueError, match="those of VOTE_SCHEMA, not a"):
            writer.write_rows(pa.table({"a": [1]}))
    check_places(read_log(log_url), votes)


@pytest.mark.parametrize("log", [KAFKA, "sqlite", "files"])
def test_threads_may_share_a_writer(log_url: str) -> None:
    votes = make_votes(400)
    with VoteWriter(log_url) as writer:
        threads = [threading.Thread(target=writer.write_all, args=(votes[start::4],)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert read_log(log_url).ids() == sorted(vote.vote_id for vote in votes)


@pytest.mark.parametrize("log", [KAFKA, "sqlite"])
def test_a_writer_that_nobody_closed_delivers_when_the_program_ends(log_url: str) -> None:
    program = (
        "import sys; from producers.vote_writer import VoteWriter;"
        "VoteWriter(sys.argv[1], linger=5).write(sys.argv[2]); kept = VoteWriter(sys.argv[1], linger=5);"
        "kept.write(sys.argv[3])"
    )
    votes = make_votes(2)
    arguments = [encode_vote(vote).decode() for vote in votes]
    subprocess.run([sys.executable, "-c", program, log_url, *arguments], check=True, timeout=60)
    assert read_log(log_url).ids() == [vote.vote_id for vote in votes]


@pytest.mark.parametrize("log", ["files"])
def test_files_take_no_envelopes(log_url: str) -> None:
    with pytest.raises(LogError, match="envelopes go to kafka:// and sqlite: only"), VoteWriter(log_url, envelope=2):
        pass
    with VoteWriter(log_url) as writer, pytest.raises(ValueError, match="open the writer with envelope=N"):
        writer.write_rows(pa.Table.from_batches([tabulate_votes([])]))


@pytest.mark.parametrize("log", ["sqlite"])
def test_a_closed_writer_says_so(log_url: str) -> None:
    writer = VoteWriter(log_url)
    writer.write(make_vote(1))
    writer.close()
    writer.close()
    with pytest.raises(LogError, match="this writer is closed"):
        writer.write(make_vote(2))
    assert len(read_log(log_url).votes) == 1


@pytest.mark.parametrize(
    "options", [{"envelope": 0}, {"max_pending": 0}, {"delivery_timeout": 0}, {"linger": -1.0}], ids=str
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        VoteWriter("sqlite:events.db", **options)


def test_a_log_that_is_not_there_is_said_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="does not exist"), VoteWriter(f"sqlite:{tmp_path / 'none.db'}"):
        pass
    with pytest.raises(LogUnavailable, match=r"kafka://127\.0\.0\.1:9/votes: .*refused"):
        VoteWriter("kafka://127.0.0.1:9/votes").open()


@pytest.mark.kafka
def test_a_topic_that_is_not_there_is_said_when_it_is_opened(kafka_url: str) -> None:
    with pytest.raises(LogError, match=r"has no topic t.*-votes"):
        VoteWriter(kafka_url).open()


@pytest.mark.parametrize("log", ["sqlite"])
@pytest.mark.parametrize("envelope", [None, 3])
def test_what_a_log_refuses_is_told_with_its_votes(log_url: str, tmp_path: Path, envelope: int | None) -> None:
    lost: list[bytes] = []
    votes = make_votes(5)
    writer = VoteWriter(log_url, envelope=envelope, on_lost=lambda vote: lost.append(vote.value))
    writer.write(votes[0])
    writer.flush()
    path = tmp_path / "events.db"
    path.rename(tmp_path / "moved.db")
    writer.write_all(votes[1:])
    with pytest.raises(DeliveryError, match=r"4 votes were not delivered \(0+1, 0+2, 0+3, 0+4\)") as caught:
        writer.flush()
    assert caught.value.count == 4
    assert not caught.value.retriable
    assert sorted(caught.value.vote_ids) == [vote.vote_id for vote in votes[1:]]
    assert sorted(msgspec.json.decode(value, type=Vote).vote_id for value in lost) == list(caught.value.vote_ids)
    (tmp_path / "moved.db").rename(path)
    writer.write_all(votes[1:])  # it goes on
    writer.close()
    check_places(read_log(log_url), votes)


@pytest.mark.kafka
def test_envelopes_follow_new_partitions(kafka_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.delivery.kafka_sender._LOOK_SECONDS", 0.0)
    settings = parse_kafka_url(make_topics(kafka_url), {})
    with VoteWriter(kafka_url, envelope=10) as writer:
        apply_topics(settings, {"votes": 7})
        sent = iter(range(10_000))

        def is_spread_over_all() -> bool:
            writer.write_all(make_vote(next(sent)) for _ in range(100))
            writer.flush()
            return len({written.partition for written in read_log(kafka_url).votes}) == 7

        wait_until(is_spread_over_all, 30)
        votes = [make_vote(next(sent)) for _ in range(200)]
        writer.write_all(votes)
    expected = partitions_of_keys([vote.matchup_id for vote in votes], 7, 0).tolist()
    found = {written.vote.vote_id: written.partition for written in read_log(kafka_url).votes}
    assert [found[vote.vote_id] for vote in votes] == expected
