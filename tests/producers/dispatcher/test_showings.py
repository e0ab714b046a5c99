"""Ready matchups are shown once each, to be voted on until they expire."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipeline.eventlog.blocks import wall_clock_ms
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.errors import (
    AlreadyVoted,
    CustomCancelled,
    DispatcherError,
    MatchupExpired,
    UnknownMatchup,
    UnknownTicket,
)
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import Expired, MatchupState, Showing, Wait
from tests.producers.dispatcher.queues import (
    ARENA,
    DAY,
    MODELS,
    SECOND,
    START,
    TTL,
    Clock,
    finish,
    lease_model,
    make_custom,
    make_matchup,
    must_show,
    open_dispatcher,
    take_ready,
    work_off,
)


def test_a_showing_holds_what_the_voter_needs(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 1)
    showing = must_show(dispatcher, "v1")
    assert showing.matchup == make_matchup(1)
    assert (showing.voter, showing.shown_at, showing.state, showing.vote_id) == ("v1", START, MatchupState.SHOWN, None)
    assert [slot.media_type for slot in showing.slots] == ["text/plain"] * 4
    for slot, model in zip(showing.slots, MODELS, strict=True):
        assert slot.address is not None
        assert len(slot.address) == 22
        found = dispatcher.artifact_at(slot.address)
        assert found is not None
        assert dispatcher.artifacts.read(*found) == f"{model}: a thing, number 1".encode()
        assert found[0] not in slot.address
    assert dispatcher.showing(showing.matchup.matchup_id) == showing


def test_what_was_not_shown_has_no_showing_and_no_address(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 1)
    assert dispatcher.showing(make_matchup(1).matchup_id) is None
    assert dispatcher.artifact_at("A" * 22) is None
    assert dispatcher.artifact_at("") is None
    with pytest.raises(UnknownMatchup):
        dispatcher.claim_vote(make_matchup(1).matchup_id, "vote", START)
    with pytest.raises(UnknownMatchup):
        dispatcher.note_voted("nonsense", "vote", START)


def test_each_matchup_is_shown_once(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 20)
    shown = [must_show(dispatcher, f"v{number % 3}").matchup.matchup_id for number in range(20)]
    assert len(set(shown)) == 20
    assert isinstance(dispatcher.show_next(ARENA, "v0", START), Wait)


def test_each_matchup_is_shown_once_to_voters_who_come_together(tmp_path: Path, clock: Clock) -> None:
    with open_dispatcher(tmp_path, clock, DispatcherSettings(ready_min=100)) as dispatcher:  # flushed, as in life
        take_ready(dispatcher, 40)
        answers: list[Showing | Wait] = []
        start = threading.Barrier(16)

        def ask(voter: int) -> None:
            start.wait()
            for turn in range(4):
                answers.append(dispatcher.show_next(ARENA, f"v{voter}-{turn}", START))

        threads = [threading.Thread(target=ask, args=(voter,)) for voter in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shown = [answer.matchup.matchup_id for answer in answers if isinstance(answer, Showing)]
        assert len(shown) == len(set(shown)) == 40
        assert sum(isinstance(answer, Wait) for answer in answers) == 24
        addresses = [slot.address for answer in answers if isinstance(answer, Showing) for slot in answer.slots]
        assert len(set(addresses)) == 160


def test_priority_then_the_oldest_expiry_goes_first(dispatcher: Dispatcher) -> None:
    dispatcher.take_proposals(
        [
            make_matchup(1, expires=START + TTL),
            make_matchup(2, expires=START + TTL - SECOND),
            make_matchup(3, expires=START + 2 * TTL, priority=1),
            make_matchup(4, expires=START + TTL - SECOND),
        ],
        {},
    )
    work_off(dispatcher, START)
    order = [must_show(dispatcher, "v").matchup.matchup_id for _ in range(4)]
    assert order == [make_matchup(number).matchup_id for number in (3, 2, 4, 1)]


def test_arenas_do_not_mix(dispatcher: Dispatcher) -> None:
    dispatcher.take_proposals([make_matchup(1, arena="another")], {})
    work_off(dispatcher, START)
    assert isinstance(dispatcher.show_next(ARENA, "v", START), Wait)
    assert must_show(dispatcher, "v", arena="another").matchup.arena == "another"


def test_a_matchup_is_not_shown_when_there_is_no_time_to_vote(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 2)
    latest = START + TTL - round(dispatcher.settings.min_vote_s * SECOND)
    must_show(dispatcher, "v", latest - 1)
    assert isinstance(dispatcher.show_next(ARENA, "v", latest), Wait)


def test_what_is_too_old_expires(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 2)
    dispatcher.take_proposals([make_matchup(9)], {})
    shown = must_show(dispatcher, "v").matchup.matchup_id
    latest = START + TTL - round(dispatcher.settings.min_vote_s * SECOND)
    assert dispatcher.expire(latest - 1) == Expired()
    assert dispatcher.expire(latest) == Expired(unmade=1, ready=1, shown=0)
    dispatcher.claim_vote(shown, "vote", START + TTL - 1)
    assert dispatcher.expire(START + TTL) == Expired(shown=1)
    assert dispatcher.expire(START + TTL) == Expired()
    counts = dispatcher.counts(START + TTL).arenas[ARENA]
    assert (counts.expired, counts.made_never_shown, counts.made, counts.shown_ever) == (3, 1, 2, 1)


def test_a_vote_is_noted_once(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 1)
    matchup_id = must_show(dispatcher, "v").matchup.matchup_id
    assert dispatcher.claim_vote(matchup_id, "vote", START).vote_id is None
    assert dispatcher.claim_vote(matchup_id, "vote", START).vote_id == "vote"
    with pytest.raises(AlreadyVoted):
        dispatcher.claim_vote(matchup_id, "another", START)
    for _ in range(2):
        dispatcher.note_voted(matchup_id, "vote", START)
    with pytest.raises(AlreadyVoted):
        dispatcher.note_voted(matchup_id, "another", START)
    with pytest.raises(AlreadyVoted):
        dispatcher.claim_vote(matchup_id, "another", START + DAY)
    assert dispatcher.claim_vote(matchup_id, "vote", START + DAY).state is MatchupState.VOTED
    assert dispatcher.counts(START).arenas[ARENA].voted == 1


def test_a_claim_that_came_to_nothing_can_be_dropped(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 1)
    matchup_id = must_show(dispatcher, "v").matchup.matchup_id
    dispatcher.claim_vote(matchup_id, "vote", START)
    dispatcher.drop_claim(matchup_id, "another")
    with pytest.raises(AlreadyVoted):
        dispatcher.claim_vote(matchup_id, "another", START)
    dispatcher.drop_claim(matchup_id, "vote")
    dispatcher.claim_vote(matchup_id, "another", START)
    dispatcher.note_voted(matchup_id, "another", START)
    dispatcher.drop_claim(matchup_id, "another")
    with pytest.raises(AlreadyVoted):
        dispatcher.claim_vote(matchup_id, "vote", START)


def test_an_expired_matchup_cannot_be_voted_on_but_a_claimed_vote_is_noted(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 2)
    late, claimed = (must_show(dispatcher, "v").matchup.matchup_id for _ in range(2))
    dispatcher.claim_vote(claimed, "vote", START + TTL - 1)
    dispatcher.expire(START + TTL)
    with pytest.raises(MatchupExpired):
        dispatcher.claim_vote(late, "vote", START + TTL)
    dispatcher.note_voted(claimed, "vote", START + TTL + 1)
    showing = dispatcher.showing(claimed)
    assert showing is not None
    assert showing.state is MatchupState.VOTED


def test_a_custom_prompt_is_shown_to_its_voter_only(dispatcher: Dispatcher) -> None:
    ticket = dispatcher.add_custom(make_custom(1), "v1")
    assert dispatcher.add_custom(make_custom(1), "v1") == ticket
    assert isinstance(dispatcher.show_ticket(ticket, "v1", START), Wait)
    work_off(dispatcher, START)
    assert isinstance(dispatcher.show_next(ARENA, "v2", START), Wait)
    with pytest.raises(UnknownTicket):
        dispatcher.show_ticket(ticket, "v2", START)
    with pytest.raises(UnknownTicket):
        dispatcher.show_ticket("nonsense", "v1", START)
    showing = dispatcher.show_ticket(ticket, "v1", START)
    assert isinstance(showing, Showing)
    assert showing.matchup == make_custom(1)
    assert dispatcher.show_ticket(ticket, "v1", START + SECOND) == showing
    assert dispatcher.counts(START).arenas[ARENA].shown_ever == 1


def test_a_voter_who_asks_without_a_ticket_gets_their_own_prompt_first(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 1)
    dispatcher.add_custom(make_custom(9), "v1")
    work_off(dispatcher, START)
    assert must_show(dispatcher, "v2").matchup == make_matchup(1)
    assert must_show(dispatcher, "v1").matchup == make_custom(9)


def test_a_custom_matchup_may_come_by_the_log_first(dispatcher: Dispatcher) -> None:
    dispatcher.take_proposals([make_custom(1)], {})
    work_off(dispatcher, START)
    assert isinstance(dispatcher.show_next(ARENA, "v1", START), Wait)
    ticket = dispatcher.add_custom(make_custom(1), "v1")
    with pytest.raises(DispatcherError, match="another voter"):
        dispatcher.add_custom(make_custom(1), "v2")
    assert dispatcher.take_proposals([make_custom(1)], {}) == 0
    assert isinstance(dispatcher.show_ticket(ticket, "v1", START), Showing)


def test_a_custom_prompt_that_cannot_be_made_says_so(dispatcher: Dispatcher) -> None:
    ticket = dispatcher.add_custom(make_custom(1), "v1")
    (job,) = lease_model(dispatcher, "alpha", START)
    dispatcher.fail_job(job.job_id, job.fence, "broken", START, retriable=False)
    with pytest.raises(CustomCancelled):
        dispatcher.show_ticket(ticket, "v1", START)


def test_a_custom_prompt_that_takes_too_long_says_so(dispatcher: Dispatcher) -> None:
    ticket = dispatcher.add_custom(make_custom(1), "v1")
    dispatcher.expire(START + TTL)
    with pytest.raises(CustomCancelled):
        dispatcher.show_ticket(ticket, "v1", START + TTL)


def test_only_custom_prompts_have_tickets(dispatcher: Dispatcher) -> None:
    with pytest.raises(DispatcherError, match="no custom prompt"):
        dispatcher.add_custom(make_matchup(1), "v1")


def test_what_ended_long_ago_is_forgotten(
    dispatcher: Dispatcher, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.dispatcher.retention.AT_ONCE", 3)
    take_ready(dispatcher, 7)
    shown = must_show(dispatcher, "v")
    address = str(shown.slots[0].address)
    dispatcher.expire(START + TTL)
    assert dispatcher.purge(START + TTL).matchups == 0
    assert dispatcher.artifact_at(address) is not None
    clock.now = later = START + 8 * DAY
    kept = make_matchup(1_000, text="a thing, number 1", expires=later + TTL)  # shares jobs with matchup 1
    dispatcher.take_proposals([kept], {})
    purged = dispatcher.purge(later)
    assert (purged.matchups, purged.jobs) == (7, 6 * 4)
    assert dispatcher.artifact_at(address) is None
    assert dispatcher.showing(shown.matchup.matchup_id) is None
    assert must_show(dispatcher, "v", later).matchup == kept
    assert dispatcher.counts(later).arenas[ARENA].taken == 8


def test_artifacts_that_no_job_has_are_removed(tmp_path: Path, clock: Clock) -> None:
    with open_dispatcher(tmp_path, clock, DispatcherSettings(durable=False)) as dispatcher:
        take_ready(dispatcher, 1)
        (tmp_path / "artifacts" / "objects" / "00").mkdir(exist_ok=True)
        (tmp_path / "artifacts" / "objects" / "00" / ("0" * 64 + ".txt")).write_bytes(b"of a killed process")
    clock.now = wall_clock_ms() + 30 * DAY  # files have their times from the system
    with open_dispatcher(tmp_path, clock, DispatcherSettings(durable=False)) as dispatcher:
        assert dispatcher.remove_artifacts().artifacts == 1
        dispatcher.expire(clock.now)
        assert dispatcher.purge(clock.now + 8 * DAY).jobs == 4
        assert dispatcher.remove_artifacts().artifacts == 4


def test_counts_tell_the_queue(dispatcher: Dispatcher) -> None:
    take_ready(dispatcher, 2)
    dispatcher.take_proposals([make_matchup(8), make_matchup(9)], {})
    jobs = dispatcher.lease_jobs("w", max_jobs=1, now=START)
    must_show(dispatcher, "v", START + SECOND)
    counts = dispatcher.counts(START + 5 * SECOND).arenas[ARENA]
    assert (counts.proposed, counts.leased, counts.ready, counts.shown) == (1, 1, 1, 1)
    assert (counts.taken, counts.made, counts.shown_ever, counts.voted) == (4, 2, 1, 0)
    assert (counts.jobs_waiting, counts.jobs_leased, counts.jobs_done) == (7, 1, 8)
    assert counts.oldest_ready_ms == 5 * SECOND
    assert counts.demand == 500
    assert counts.shortage == 500 - 3
    finish(dispatcher, jobs, START)


def test_demand_is_remembered_over_a_restart(tmp_path: Path, clock: Clock) -> None:
    settings = DispatcherSettings(durable=False, ready_min=100)
    with open_dispatcher(tmp_path, clock, settings) as dispatcher:
        take_ready(dispatcher, 60)
        for second in range(60):
            must_show(dispatcher, f"v{second}", START + second * SECOND)
        rate = dispatcher.counts(START + 60 * SECOND).arenas[ARENA].rate
    clock.now = START + 60 * SECOND
    with open_dispatcher(tmp_path, clock, settings) as dispatcher:
        assert dispatcher.counts(clock.now).arenas[ARENA].rate == pytest.approx(rate)
        assert 0.5 < rate < 1.5
