"""From a matchup to the board, over HTTP: each vote once, acknowledged when the log has it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import httpx
import pytest

from pipeline.contracts.gateway import ShownMatchup
from pipeline.contracts.log import VOTES, Position, TopicPartition
from pipeline.contracts.vote import Vote
from producers.client import Client, GatewayRefusal
from producers.outgoing_vote import parse_vote
from producers.simulate.pictures import read_quality
from tests.conftest import wait_until
from tests.end_to_end.jobs import archived_votes
from tests.gateway.systems import ARENA, System, published_votes


def read_vote(system: System, partition: int, offset: int) -> Vote:
    """Return the vote at a place of the log."""
    source = TopicPartition(VOTES, partition)
    reader = system.log.reader({source: Position(offset)}, live=False)
    try:
        batch = reader.poll(VOTES, 10_000, 1.0)
        spans = [batch.spans[span].source for span in batch.span_of]
        places = list(zip(spans, batch.offsets.tolist(), strict=True))
        return parse_vote(batch.values[places.index((source, offset))])
    finally:
        reader.close()


def test_a_vote_goes_from_matchup_to_board(system: System) -> None:
    with system.client() as client:
        before = published_votes(system)
        shown = client.next_matchup(ARENA)
        assert shown.k == len(shown.slots) == 4
        pictures = [client.artifact(slot) for slot in shown.slots]
        assert {picture.media_type for picture in pictures} == {"image/png"}
        receipt = client.vote(shown, (1, 2, 2, 4), duration_ms=8400)
        assert receipt.counted_at is not None
        vote = read_vote(system, receipt.counted_at.partition, receipt.counted_at.offset)
        assert (vote.vote_id, vote.matchup_id, vote.arena) == (receipt.vote_id, shown.matchup_id, ARENA)
        assert (vote.ranks, vote.mode, vote.duration_ms, vote.token) == ((1, 2, 2, 4), "rank", 8400, shown.token)
        assert vote.voter is not None
        assert vote.voter[0] == "v"
        assert shown.prompt is not None
        assert vote.prompt == shown.prompt.id
        assert vote.policy == "gibbs"
        assert vote.propensity is not None
        skills = dict(zip(system.world.model_ids, system.world.skills.tolist(), strict=True))
        assert [read_quality(picture.data) for picture in pictures] == [skills[model] for model in vote.models]
        assert [line.model for line in receipt.reveal.models] == list(vote.models)
        revealed = client.reveal(shown.matchup_id, in_board=True)
        assert revealed.in_board
        assert all(line.rank_after is not None and line.rating_after is not None for line in revealed.models)
        assert published_votes(system) > before
        assert Counter(archived_votes(system.store))[receipt.vote_id] == 1


def test_the_same_answer_again_is_the_same_vote(system: System) -> None:
    with system.client() as client:
        shown = client.next_matchup(ARENA)
        first = client.vote(shown, (1, 2, 3, 4))
        assert client.vote(shown, (1, 2, 3, 4)).counted_at == first.counted_at
        assert client.vote(shown, (1, 2, 3, 4)).vote_id == first.vote_id
        with pytest.raises(GatewayRefusal, match="already_voted"):
            client.vote(shown, (4, 3, 2, 1))
        with pytest.raises(GatewayRefusal, match="already_voted"):
            client.vote(shown, (1, 2, 3, 4), vote_id="another")


def test_a_chosen_vote_id_tells_votes_apart(system: System) -> None:
    with system.client() as client:
        shown = client.next_matchup(ARENA)
        first = client.vote(shown, (1, 2, 3, 4), vote_id="mine")
        assert client.vote(shown, (1, 2, 3, 4), vote_id="mine").vote_id == first.vote_id
        other = client.next_matchup(ARENA)
        assert client.vote(other, (1, 2, 3, 4), vote_id="mine").vote_id != first.vote_id


@pytest.mark.parametrize(
    ("mode", "ranks"), [("best", (None, 1, None, None)), ("all_bad", None), ("skip", None), ("rank", (1, 1, 1, 1))]
)
def test_all_modes_are_taken(system: System, mode: str, ranks: tuple[int | None, ...] | None) -> None:
    with system.client() as client:
        receipt = client.vote(client.next_matchup(ARENA), ranks, mode=mode)
        assert receipt.counted_at is not None
        vote = read_vote(system, receipt.counted_at.partition, receipt.counted_at.offset)
        assert (vote.mode, vote.ranks) == (mode, ranks)
        wait_until(lambda: receipt.vote_id in archived_votes(system.store))


@pytest.mark.parametrize(
    ("mode", "ranks"),
    [
        ("rank", (1, 2, 3)),
        ("rank", (1, 2, None, 4)),
        ("rank", None),
        ("best", (1, 2, 3, 4)),
        ("all_bad", (1, 2, 3, 4)),
        ("rank", (1, 2, 3, 2**31)),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused_and_can_be_mended(
    system: System, mode: str, ranks: tuple[int | None, ...] | None
) -> None:
    with system.client() as client:
        shown = client.next_matchup(ARENA)
        with pytest.raises(GatewayRefusal) as refused:
            client.vote(shown, ranks, mode=mode)
        assert refused.value.status == 422
        client.vote(shown, (1, 2, 3, 4))


def test_who_asks_again_gets_another_matchup_and_may_vote_on_both(system: System) -> None:
    with system.client() as client:
        one, two = client.next_matchup(ARENA), client.next_matchup(ARENA)
        assert one.matchup_id != two.matchup_id
        client.vote(two, (1, 2, 3, 4))
        client.vote(one, (1, 2, 3, 4))


def test_nothing_is_revealed_before_the_vote_or_to_others(system: System) -> None:
    with system.client() as client, system.client() as other:
        shown = client.next_matchup(ARENA)
        with pytest.raises(GatewayRefusal, match="not_voted"):
            client.reveal(shown.matchup_id)
        client.vote(shown, (1, 2, 3, 4))
        other.next_matchup(ARENA)
        with pytest.raises(GatewayRefusal, match="unknown_matchup"):
            other.reveal(shown.matchup_id)


def test_no_answer_before_the_vote_names_a_model(system: System) -> None:
    with system.http() as http:
        response = wait_until(lambda: ask(http))
        assert response is not None
        shown = response.json()
        texts = [response.text, str(response.headers)]
        for slot in shown["slots"]:
            picture = http.get(slot["artifact"])
            assert picture.headers["cache-control"] == "private, max-age=31536000, immutable"
            assert picture.headers["x-content-type-options"] == "nosniff"
            texts.append(str(picture.headers))
        assert not [text for text in texts if "model-" in text]


def ask(http: httpx.Client) -> httpx.Response | None:
    response = http.post(f"/v1/arenas/{ARENA}/matchups", json={})
    return response if response.status_code == 200 else None


def test_a_matchup_for_a_prompt_is_made_and_shown_to_its_voter(system: System) -> None:
    with system.client() as client:
        shown = client.next_matchup(ARENA, "  a fox under a <b>bold</b> moon ")
        assert shown.prompt is not None
        assert shown.prompt.text == "a fox under a <b>bold</b> moon"
        assert shown.prompt.id.startswith("c-")
        receipt = client.vote(shown, (1, 2, 3, 4))
        wait_until(lambda: receipt.vote_id in archived_votes(system.store))


def test_a_prompt_that_all_models_refuse_is_said(system: System) -> None:
    with system.client() as client, pytest.raises(GatewayRefusal, match="cancelled"):
        client.next_matchup(ARENA, "something forbidden")


def test_a_ticket_belongs_to_its_voter(system: System) -> None:
    with system.client() as client, system.client() as other:
        wait = client.ask(ARENA, "a lighthouse")
        assert not isinstance(wait, ShownMatchup)
        assert wait.ticket is not None
        other.next_matchup(ARENA)
        with pytest.raises(GatewayRefusal, match="unknown_ticket"):
            other.ticket(wait.ticket)


def test_producers_and_client_share_a_name(tmp_path: Path) -> None:
    import producers  # noqa: PLC0415 - what is tested

    assert producers.Client is Client
