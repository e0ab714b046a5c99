"""The registry: each control event, its faults, and what both leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.arena import Model
from pipeline.contracts.reasons import MAX_RECORD_BYTES
from pipeline.operators.rate import Rate, RateSettings
from pipeline.operators.registry import LiveRegistry
from tests.operators.feeding import (
    MODELS,
    NO_PROPOSALS,
    START,
    Feed,
    archive_of,
    arena_events,
    dead_letters_of,
    make_vote,
    opened,
    process_events,
    process_votes,
    state_of,
)

EVENTS: list[dict[str, Any]] = [
    {"type": "arena.upsert", "arena": "pictures", "title": "Pictures", "k": 3, "prompts": [{"id": "p1", "text": "x"}]},
    {"type": "model.add", "arena": "pictures", "model": {"id": "alpha", "name": "Alpha 2"}},
    {"type": "model.add", "arena": "pictures", "model": {"id": "eta"}},
    {"type": "model.retire", "arena": "pictures", "model": "beta"},
    {"type": "model.retire", "arena": "pictures", "model": {"id": "beta"}},
    {"type": "voters.retract", "voters": ["v1", "v2"]},
    {"type": "voters.retract", "arena": "pictures", "voters": ["v3"]},
    {"type": "voters.restore", "arena": "pictures", "voters": ["v3"]},
    {"type": "matchups.retract", "arena": "pictures", "matchups": [make_vote(1).matchup_id]},
    {"type": "matchups.restore", "matchups": [make_vote(1).matchup_id]},
]

FAULTY: list[tuple[dict[str, Any] | bytes, str]] = [
    (b"{", "not_json"),
    (b"[" * 5000, "not_json"),
    (b"x" * (MAX_RECORD_BYTES + 1), "too_large"),
    ({"type": "arena.rename", "arena": "pictures"}, "schema"),
    ({"type": "arena.upsert", "arena": "pictures", "settings": {"policy": "nope"}}, "schema"),
    ({"type": "arena.upsert", "arena": "films", "settings": {"matchup_ttl_seconds": 1e300}}, "schema"),
    ({"type": "model.add", "arena": "films", "model": {"id": "alpha"}}, "unknown_arena"),
    ({"type": "model.retire", "arena": "films", "model": "alpha"}, "unknown_arena"),
    ({"type": "model.retire", "arena": "pictures", "model": "nobody"}, "unknown_model"),
    ({"type": "voters.retract", "arena": "films", "voters": ["v1"]}, "unknown_arena"),
    ({"type": "voters.restore", "arena": "films", "voters": ["v1"]}, "unknown_arena"),
    ({"type": "matchups.retract", "arena": "films", "matchups": ["m1"]}, "unknown_arena"),
]


def start(rate: Rate, feed: Feed) -> None:
    """Make an arena with some votes, and commit."""
    process_events(rate, feed.control(*arena_events()))
    process_votes(rate, feed.votes([make_vote(number) for number in range(20)]))
    rate.commit(START)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
def test_an_event_that_comes_twice_changes_nothing_the_second_time(event: dict[str, Any], tmp_path: Path) -> None:
    feed = Feed()
    with opened(tmp_path / "store") as store:
        rate = Rate(store, NO_PROPOSALS)
        start(rate, feed)
        process_events(rate, feed.control(event))
        rate.commit(START)
        once, registry = state_of(rate, with_votes_only=True), rate.book.registry.freeze()
        process_events(rate, feed.control(event))
        rate.commit(START)
        assert state_of(rate, with_votes_only=True) == once
        assert rate.book.registry.freeze() == registry
        rows = archive_of(store)[-2:]
        assert [row["sequence"] for row in rows] == [rate.book.sequence - 1, rate.book.sequence]
        assert all(row["topic"] == "control" and row["vote_id"] is None for row in rows)


@pytest.mark.parametrize(("event", "reason"), FAULTY, ids=lambda value: str(value)[:60])
def test_a_faulty_event_is_kept_as_a_dead_letter_and_changes_nothing(
    event: dict[str, Any] | bytes, reason: str, tmp_path: Path
) -> None:
    feed = Feed()
    with opened(tmp_path / "store") as store:
        rate = Rate(store, NO_PROPOSALS)
        start(rate, feed)
        before = state_of(rate)
        batch = feed.control(event)
        process_events(rate, batch)
        assert rate.commit(START) is not None
        after = state_of(rate)
        assert {name: after[name] for name in before if name not in {"marks", "tally"}} == {
            name: before[name] for name in before if name not in {"marks", "tally"}
        }
        assert rate.tally.dead == {reason: 1}
        (letter,) = dead_letters_of(store)
        assert (letter["topic"], letter["offset"], letter["reason"]) == ("control", int(batch.offsets[0]), reason)
        assert letter["payload"] == batch.values[0][:MAX_RECORD_BYTES]
        assert letter["detail"]
        if reason.startswith("unknown_"):
            assert isinstance(event, dict)
            assert letter["arena"] == event["arena"]
        process_votes(rate, feed.votes([make_vote(500)]))
        rate.commit(START)
        assert rate.book.sequence == before["sequence"] + 1


def test_good_events_around_a_faulty_one_take_force(tmp_path: Path) -> None:
    feed = Feed()
    with opened(tmp_path / "store") as store:
        rate = Rate(store, NO_PROPOSALS)
        added: list[dict[str, Any] | bytes] = [
            {"type": "arena.upsert", "arena": "films"},
            b"?",
            {"type": "model.add", "arena": "films", "model": {"id": "alpha"}},
        ]
        process_events(rate, feed.control(*added))
        rate.commit(START)
        assert list(rate.book.registry.arenas["films"].index) == ["alpha"]
        assert [row["offset"] for row in archive_of(store)] == [0, 2]


def test_a_model_keeps_its_index_when_it_is_added_again(tmp_path: Path) -> None:
    feed = Feed()
    with opened(tmp_path / "store") as store:
        rate = Rate(store, NO_PROPOSALS)
        process_events(rate, feed.control(*arena_events()))
        event = {"type": "model.add", "arena": "pictures", "model": {"id": "beta", "name": "B", "license": "MIT"}}
        process_events(rate, feed.control(event))
        live = rate.book.registry.arenas["pictures"]
        assert live.index == {model: place for place, model in enumerate(MODELS)}
        assert live.models[1] == Model(id="beta", name="B", license="MIT")


def test_a_retired_model_is_known_until_it_is_added_again(tmp_path: Path) -> None:
    feed = Feed()
    with opened(tmp_path / "store") as store:
        rate = Rate(store, NO_PROPOSALS)
        process_events(rate, feed.control(*arena_events()))
        process_events(rate, feed.control({"type": "model.retire", "arena": "pictures", "model": "alpha"}))
        assert rate.book.registry.arenas["pictures"].models[0].retired
        vote = make_vote(1, models=("alpha", "beta"), ranks=(1, 2))
        process_votes(rate, feed.votes([vote]))
        assert rate.tally.accepted == 1
        add = {"type": "model.add", "arena": "pictures", "model": {"id": "alpha"}}
        process_events(rate, feed.control(add))
        assert not rate.book.registry.arenas["pictures"].models[0].retired


def test_an_upsert_replaces_the_arena_and_keeps_its_models(tmp_path: Path) -> None:
    feed = Feed()
    with opened(tmp_path / "store") as store:
        rate = Rate(store, NO_PROPOSALS)
        process_events(rate, feed.control(*arena_events(title="One", k=2)))
        process_events(rate, feed.control({"type": "arena.upsert", "arena": "pictures", "title": "Two"}))
        live = rate.book.registry.arenas["pictures"]
        assert (live.arena.title, live.arena.k, live.arena.prompts) == ("Two", 4, ())
        assert list(live.index) == list(MODELS)


def test_the_first_upsert_closes_the_registry_for_good(tmp_path: Path) -> None:
    feed, said = Feed(), list[str]()
    with opened(tmp_path / "store") as store:
        rate = Rate(store, NO_PROPOSALS, announce=said.append)
        process_votes(rate, feed.votes([make_vote(1, arena="wild", models=("x", "y"), ranks=(1, 2))]))
        assert said == ["arena wild: registered from votes: x, y"]
        process_events(rate, feed.control(*arena_events()))
        rate.commit(START)
        again = Rate(store, NO_PROPOSALS, announce=said.append)
        strangers = [
            make_vote(2, arena="wild", models=("x", "z"), ranks=(1, 2)),
            make_vote(3, arena="new"),
            make_vote(4, arena="wild", models=("y", "x"), ranks=(1, 2)),
        ]
        process_votes(again, feed.votes(strangers))
        assert again.tally.dead == {"unknown_model": 1, "unknown_arena": 1}
        assert again.tally.accepted == 2
        assert len(said) == 1


def test_a_registry_comes_back_as_it_was_stored() -> None:
    registry = LiveRegistry()
    for model in ("b", "a", "c"):
        registry.admit("pictures", model)
    again = LiveRegistry(registry.freeze())
    assert again.freeze() == registry.freeze()
    assert again.arenas["pictures"].index == {"b": 0, "a": 1, "c": 2}
    assert not again.admit("pictures", "a")


def test_a_store_with_a_policy_of_another_version_goes_on_without_proposals(tmp_path: Path) -> None:
    feed, said = Feed(), list[str]()
    with opened(tmp_path / "store") as store:
        rate = Rate(store, NO_PROPOSALS)
        process_events(rate, feed.control(*arena_events(settings={"policy": "random"})))
        live = rate.book.registry.arenas["pictures"]
        settings = type(live.arena.settings)(policy="of-tomorrow")
        live.arena = type(live.arena)(id="pictures", settings=settings)
        rate.commit(START)
        again = Rate(store, RateSettings(), announce=said.append)
        assert said == ["arena pictures has no proposals: its matchmaking policy of-tomorrow is unknown here"]
        process_votes(again, feed.votes([make_vote(1)]))
        committed = again.commit(START)
        assert committed is not None
        assert committed.outbox == ()
