"""A dead letter's second life: exported, mended, sent again, and counted once however often it is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.contracts.arena import Model
from pipeline.contracts.envelope import encode_envelope
from pipeline.contracts.log import ARROW_STREAM, CONTENT_TYPE, CONTROL, VOTES, Record
from pipeline.contracts.vote import Vote
from pipeline.store.reader import StoreReader
from tests.broken_records import ARENA, MODELS, good_record
from tests.end_to_end.jobs import (
    append,
    append_events,
    archived_votes,
    call,
    call_json,
    make_event,
    make_log,
    run_to_end,
)

pytestmark = pytest.mark.timeout(60)


def test_mended_dead_letters_are_counted_once(tmp_path: Path) -> None:
    log, store, file = make_log(tmp_path), tmp_path / "store", tmp_path / "dead.jsonl"
    models = [Model(id=model) for model in MODELS]
    append_events(log, [make_event("arena.upsert", arena=ARENA)])
    append_events(log, [make_event("model.add", arena=ARENA, model=model) for model in models])
    row = Vote(vote_id="in-envelope", matchup_id="m-9", arena=ARENA, time=1, models=("sd35", "flux-dev"), ranks=(1, 2))
    append(
        log,
        VOTES,
        [
            Record(good_record(1)),
            Record(good_record(2, models=["sd35", *MODELS[1:]])),  # a model under a wrong name
            Record(good_record(3, arena="pictuers")),  # an arena that is not there
            Record(good_record(4, ranks=[1])),  # ranks that are mended by hand
            Record(good_record(5)[:-3]),  # cut off
            Record(encode_envelope([row]), headers={CONTENT_TYPE: ARROW_STREAM}),
        ],
    )
    # An event for an arena whose file comes later.
    append_events(log, [make_event("model.add", arena="films", model=Model(id="sora"))])
    run_to_end(log, store)
    assert StoreReader(store).board(ARENA).votes == 1
    counted = StoreReader(store).count_dead_letters()
    assert counted == {"unknown_model": 2, "unknown_arena": 2, "bad_ranks": 1, "not_json": 1}

    call("dead-letters", "export", "--store", store, "--to", file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        if line["reason"] == "bad_ranks":
            line["payload"]["ranks"] = [1, 2, 3, 4]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    append_events(log, [make_event("arena.upsert", arena="films")])
    run_to_end(log, store)

    def resend(rejected: str) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = call_json(
            "dead-letters", "resend", "--from", file, "--to", log.url, "--store", store,
            "--rename-model", "sd35=sd-3.5", "--rejected", tmp_path / rejected,
        )  # fmt: skip
        return rows

    done = resend("first.jsonl")
    assert {(row["outcome"], row["topic"] or row["reason"]): row["records"] for row in done} == {
        ("sent", VOTES): 3,
        ("sent", CONTROL): 1,
        ("kept", "unknown_arena"): 1,
        ("kept", "not_json"): 1,
    }
    run_to_end(log, store)
    assert StoreReader(store).board(ARENA).votes == 4
    wanted = sorted([*(f"{number:032x}" for number in (1, 2, 4)), "in-envelope"])
    assert sorted(archived_votes(store)) == wanted
    assert [model.id for model in StoreReader(store).publication("films").registered.models] == ["sora"]

    resend("second.jsonl")
    run_to_end(log, store)
    assert StoreReader(store).board(ARENA).votes == 4
    assert sorted(archived_votes(store)) == wanted
    beat = StoreReader(store).heartbeat()
    assert beat is not None
    assert beat.status is not None
    assert beat.status.duplicates == 3
    # What was sent again left no dead letter, and those of the first time stay.
    assert StoreReader(store).count_dead_letters() == counted


def test_a_cut_off_vote_is_mended_in_the_file_that_was_kept(tmp_path: Path) -> None:
    log, store = make_log(tmp_path), tmp_path / "store"
    append(log, VOTES, [Record(good_record(1)), Record(good_record(5)[:-3])])
    run_to_end(log, store)
    first, kept = tmp_path / "dead.jsonl", tmp_path / "dead.rejected.jsonl"
    call("dead-letters", "export", "--store", store, "--to", first)
    call("dead-letters", "resend", "--from", first, "--to", log.url)
    (line,) = kept.read_text().splitlines()
    kept.write_text(json.dumps({**json.loads(line), "payload": json.loads(good_record(5))}))
    call("dead-letters", "resend", "--from", kept, "--to", log.url)
    assert not (tmp_path / "dead.rejected.rejected.jsonl").exists()
    run_to_end(log, store)
    assert StoreReader(store).board(ARENA).votes == 2
