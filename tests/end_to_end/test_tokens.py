"""Where an arena requires tokens, votes with a right one count and no others, live and in a replay of the log."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from pipeline.contracts.keyring_file import write_keyring
from pipeline.contracts.log import VOTES, EventLog, Record
from pipeline.contracts.reasons import Reason
from pipeline.contracts.token import Claims, Keyring, TokenKey, make_token
from pipeline.contracts.vote import Vote, encode_vote
from pipeline.operators.rate import RateSettings
from pipeline.store.duck_store import open_store
from pipeline.store.reader import StoreReader
from pipeline.streaming.job import run_job
from tests.end_to_end.jobs import append, append_events, archived_votes, call, dead_letters, make_event, make_log

ACTIVE, RETIRED = TokenKey("k2", b"a" * 32), TokenKey("k1", b"r" * 32, "retired")
FORGED, UNKNOWN = TokenKey("k2", b"f" * 32), TokenKey("k3", b"u" * 32)
SOON = int(time.time()) + 24 * 3600  # the suite may take its time before it comes to these tests
MODELS = ("alpha", "beta")


def make_vote(
    name: str, key: TokenKey | None, *, arena: str = "pictures", signed: str | None = None, expiry: int = SOON
) -> Vote:
    """Return a vote whose token, by `key`, was signed for the matchup `signed`."""
    claims = Claims(arena, signed or f"m-{name}", MODELS, "v1.00", "gibbs", 0.5, expiry)
    return Vote(
        vote_id=name,
        matchup_id=f"m-{name}",
        arena=arena,
        time=time.time_ns() // 1_000_000,
        voter="v1.00",
        models=MODELS,
        ranks=(1, 2),
        policy="gibbs",
        propensity=0.5,
        token=None if key is None else make_token(key, claims),
    )


GOOD = ("active", "retired", "free-forged", "free-none")


def make_votes() -> list[Vote]:
    return [
        make_vote("active", ACTIVE),
        make_vote("retired", RETIRED),
        make_vote("forged", FORGED),
        make_vote("unknown", UNKNOWN),
        make_vote("none", None),
        make_vote("swapped", ACTIVE, signed="m-active"),
        make_vote("expired", ACTIVE, expiry=int(time.time()) - 60),
        make_vote("free-forged", FORGED, arena="free"),
        make_vote("free-none", None, arena="free"),
    ]


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    made = make_log(tmp_path, partitions=1)
    for arena in ("pictures", "free"):
        models = [make_event("model.add", arena=arena, model={"id": model}) for model in MODELS]
        upsert = make_event("arena.upsert", arena=arena, k=2, require_token=arena == "pictures")
        append_events(made, [upsert, *models])
    append(made, VOTES, [Record(encode_vote(vote), vote.matchup_id) for vote in make_votes()])
    return made


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    write_keyring(path, Keyring((RETIRED, ACTIVE)), new=True)
    return path


def rate(log: EventLog, folder: Path, keys: Path | None) -> None:
    with open_store(folder, holder="a test") as store:
        settings, stop = RateSettings(propose=False), threading.Event()
        run_job(
            log, store, settings, owner_key=str(folder), stop=stop, announce=pytest.fail, live=False, token_keys=keys
        )


def check(folder: Path, counted: tuple[str, ...]) -> None:
    assert sorted(archived_votes(folder)) == sorted(counted)
    refused = {vote.vote_id for vote in make_votes()} - set(counted)
    reasons = Counter(reason for reason, _ in dead_letters(folder).elements())
    assert reasons == {Reason.BAD_TOKEN.value: len(refused)}


def test_forged_swapped_and_expired_tokens_move_nothing(log: EventLog, keys: Path, tmp_path: Path) -> None:
    rate(log, tmp_path / "store", keys)
    check(tmp_path / "store", GOOD)
    call("replay", "--from", log.url, "--store", tmp_path / "again", "--token-keys", keys)
    check(tmp_path / "again", GOOD)
    call("replay", "--from", tmp_path / "store" / "archive", "--store", tmp_path / "archived")
    assert sorted(archived_votes(tmp_path / "archived")) == sorted(GOOD)
    assert StoreReader(tmp_path / "archived").board("pictures").votes == 2


def test_without_keys_no_token_is_right(log: EventLog, tmp_path: Path) -> None:
    rate(log, tmp_path / "store", None)
    check(tmp_path / "store", ("free-forged", "free-none"))


def test_keys_that_cannot_be_read_are_told_before_there_is_a_store(log: EventLog, tmp_path: Path) -> None:
    for verb in (("pipeline", "run"), ("replay",)):
        result = call(
            *verb, "--from", log.url, "--store", tmp_path / "store", "--token-keys", tmp_path / "no.toml", code=1
        )
        assert "does not exist: `kwise gateway keys create" in result.output
    assert not (tmp_path / "store").exists()
