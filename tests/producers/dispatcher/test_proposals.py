"""Proposals come in once each; jobs are shared; nothing is made twice."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipeline.contracts.generation import GenerationSettings, hash_recipe
from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.matchup import Matchup
from producers.artifacts.media import TEXT
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.errors import DispatcherError
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import ArenaCounts, Maker
from tests.producers.dispatcher.queues import (
    ARENA,
    MINUTE,
    SECOND,
    START,
    TTL,
    Clock,
    lease_model,
    make_matchup,
    must_show,
    open_dispatcher,
    prompt_of,
    take_ready,
    work_off,
)

SOURCE = TopicPartition("matchups", 3)


def counts_of(dispatcher: Dispatcher, now: int = START) -> ArenaCounts:
    return dispatcher.counts(now).arenas[ARENA]


def test_a_matchup_is_taken_once(dispatcher: Dispatcher) -> None:
    matchups = [make_matchup(1), make_matchup(2)]
    assert dispatcher.take_proposals(matchups, {SOURCE: Position(2)}) == 2
    assert dispatcher.take_proposals([*matchups, make_matchup(3)], {SOURCE: Position(3)}) == 1
    assert dispatcher.position() == {SOURCE: Position(3)}
    assert counts_of(dispatcher).taken == 3


def test_positions_never_go_back(dispatcher: Dispatcher) -> None:
    dispatcher.take_proposals([], {SOURCE: Position(5, 1)}, {SOURCE: "the log"})
    dispatcher.take_proposals([], {SOURCE: Position(4, 9)})
    assert dispatcher.position() == {SOURCE: Position(5, 1)}
    assert dispatcher.identities() == {SOURCE: "the log"}


def test_matchups_and_position_survive_a_reopening(tmp_path: Path, clock: Clock) -> None:
    with open_dispatcher(tmp_path, clock) as dispatcher:
        dispatcher.take_proposals([make_matchup(1)], {SOURCE: Position(1)})
    with open_dispatcher(tmp_path, clock) as dispatcher:
        assert dispatcher.position() == {SOURCE: Position(1)}
        assert dispatcher.take_proposals([make_matchup(1)], {}) == 0
        assert counts_of(dispatcher).proposed == 1


def test_a_matchup_that_is_too_old_is_passed_over(dispatcher: Dispatcher) -> None:
    latest = START + round(dispatcher.settings.min_vote_s * 1000)
    assert dispatcher.take_proposals([make_matchup(1, expires=latest)], {}) == 0
    assert dispatcher.take_proposals([make_matchup(1, expires=latest + 1)], {}) == 1


def test_matchups_share_the_jobs_that_are_equal(dispatcher: Dispatcher) -> None:
    same = [
        make_matchup(1, models=("alpha", "beta"), text="a cat"),
        make_matchup(2, models=("beta", "gamma"), text="a cat"),
        make_matchup(3, models=("alpha", "gamma"), text="a cat"),
    ]
    dispatcher.take_proposals(same, {})
    assert counts_of(dispatcher).jobs_waiting == 3
    assert work_off(dispatcher, START) == 3
    assert counts_of(dispatcher).ready == 3


def test_a_matchup_whose_artifacts_are_there_is_ready_at_once(dispatcher: Dispatcher) -> None:
    dispatcher.take_proposals([make_matchup(1, text="a cat")], {})
    work_off(dispatcher, START)
    dispatcher.take_proposals([make_matchup(2, text="a cat")], {})
    assert counts_of(dispatcher).ready == 2
    first, second = must_show(dispatcher, "v1"), must_show(dispatcher, "v2")
    assert {first.matchup.matchup_id, second.matchup.matchup_id} == {
        make_matchup(1).matchup_id,
        make_matchup(2).matchup_id,
    }
    addresses = [slot.address for slot in (*first.slots, *second.slots)]
    assert len(set(addresses)) == 8
    hashes = [dispatcher.artifact_at(str(address)) for address in addresses]
    assert hashes[:4] == hashes[4:]


@pytest.mark.parametrize(
    "other",
    [
        make_matchup(2, text="a dog"),
        make_matchup(2, text="a cat", arena="another"),
        make_matchup(2, text="a cat", models=("other1", "other2", "other3", "other4")),
    ],
)
def test_another_prompt_arena_or_model_is_another_job(dispatcher: Dispatcher, other: Matchup) -> None:
    dispatcher.take_proposals([make_matchup(1, text="a cat"), other], {})
    assert sum(each.jobs_waiting for each in dispatcher.counts(START).arenas.values()) == 8


def test_a_prompt_without_a_text_is_told_by_its_id(dispatcher: Dispatcher) -> None:
    dispatcher.take_proposals(
        [make_matchup(number, text="", prompt_id=f"p-{number % 2}") for number in range(1, 5)], {}
    )
    assert counts_of(dispatcher).jobs_waiting == 8


def test_a_job_says_how_the_model_makes_artifacts(tmp_path: Path, clock: Clock) -> None:
    maker = Maker("diffusers:weights", GenerationSettings(steps=4))
    with open_dispatcher(tmp_path, clock, maker_of=lambda _arena, _model: maker) as dispatcher:
        dispatcher.take_proposals([make_matchup(1)], {})
        (job,) = dispatcher.lease_jobs("w", now=START)
    assert (job.generator, job.generation, job.format) == (maker.generator, maker.generation, maker.format)
    assert (prompt_of(job).text, prompt_of(job).seed) == ("a thing, number 1", 7)


def test_other_generation_settings_are_another_job(tmp_path: Path, clock: Clock) -> None:
    steps = [4]
    maker_of = lambda _arena, _model: Maker("diffusers:weights", GenerationSettings(steps=steps[0]))  # noqa: E731
    with open_dispatcher(tmp_path, clock, maker_of=maker_of) as dispatcher:
        dispatcher.take_proposals([make_matchup(1, text="a cat")], {})
        steps[0] = 8
        dispatcher.take_proposals([make_matchup(2, text="a cat")], {})
        assert counts_of(dispatcher).jobs_waiting == 8


def test_what_a_recipe_made_before_is_not_made_again(tmp_path: Path, clock: Clock) -> None:
    def maker_of(_arena: str, model: str) -> Maker:
        return Maker(f"demo:{model}")

    with open_dispatcher(tmp_path, clock, maker_of=maker_of) as dispatcher:
        dispatcher.take_proposals([make_matchup(1, text="a cat", arena="another")], {})
        for _ in range(4):
            for job in dispatcher.lease_jobs("w", now=START):
                artifact = dispatcher.artifacts.put(job.model.encode(), TEXT)
                dispatcher.artifacts.bind_recipe(hash_recipe(job), artifact)
                dispatcher.finish_job(job.job_id, job.fence, artifact, START)
        dispatcher.take_proposals([make_matchup(2, text="a cat")], {})
        assert counts_of(dispatcher).ready == 0
        assert dispatcher.lease_jobs("w", now=START) == ()
        showing = must_show(dispatcher, "v")
        assert [
            dispatcher.artifacts.read(*found)
            for slot in showing.slots
            if (found := dispatcher.artifact_at(str(slot.address)))
        ] == [model.encode() for model in showing.matchup.models]


def test_a_dead_job_is_tried_again_after_a_rest(dispatcher: Dispatcher, clock: Clock) -> None:
    dispatcher.take_proposals([make_matchup(1, text="a cat")], {})
    (job,) = lease_model(dispatcher, "alpha", START)
    dispatcher.fail_job(job.job_id, job.fence, "no such weights", START, retriable=False)
    clock.now = START + MINUTE
    dispatcher.take_proposals([make_matchup(2, text="a cat")], {})
    assert counts_of(dispatcher).cancelled == 2
    clock.now = START + round(dispatcher.settings.dead_rest_s * SECOND)
    dispatcher.take_proposals([make_matchup(3, text="a cat", expires=clock.now + TTL)], {})
    assert work_off(dispatcher, clock.now) == 4
    assert must_show(dispatcher, "v", clock.now).matchup.matchup_id == make_matchup(3).matchup_id


def test_another_file_is_not_taken_for_a_queue(tmp_path: Path, clock: Clock) -> None:
    with sqlite3.connect(tmp_path / "queue.db") as connection:
        connection.execute("CREATE TABLE something (a)")
    connection.close()
    with pytest.raises(DispatcherError, match="something else"):
        open_dispatcher(tmp_path, clock)
    (tmp_path / "queue.db").write_bytes(b"no database " * 100)
    with pytest.raises(DispatcherError, match="cannot be used"):
        open_dispatcher(tmp_path, clock)


def test_a_newer_queue_is_refused(tmp_path: Path, clock: Clock) -> None:
    open_dispatcher(tmp_path, clock).close()
    with sqlite3.connect(tmp_path / "queue.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DispatcherError, match="version 99"):
        open_dispatcher(tmp_path, clock)


def test_a_closed_dispatcher_says_so(tmp_path: Path, clock: Clock) -> None:
    dispatcher = open_dispatcher(tmp_path, clock)
    dispatcher.close()
    dispatcher.close()
    with pytest.raises(DispatcherError, match="closed"):
        dispatcher.show_next(ARENA, "v", START)
    with pytest.raises(DispatcherError, match="closed"):
        dispatcher.counts(START)


def test_two_openings_of_one_queue_show_nothing_twice(
    tmp_path: Path, clock: Clock, settings: DispatcherSettings
) -> None:
    with open_dispatcher(tmp_path, clock, settings) as one, open_dispatcher(tmp_path, clock, settings, seed=2) as other:
        take_ready(one, 20)
        shown = [must_show(each, f"v{turn}").matchup.matchup_id for turn in range(10) for each in (one, other)]
        assert len(set(shown)) == 20
