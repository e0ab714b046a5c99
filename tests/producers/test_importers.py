"""Importers on small files made here: what each row becomes, what is left out, and what is said of a bad line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.contracts.control import decode_control, encode_control
from pipeline.contracts.decode_reference import DecodedVote, decode_vote
from pipeline.contracts.log import Record
from pipeline.contracts.vote import VOTE_SCHEMA, Vote
from producers.importers.errors import ImportFault
from producers.importers.formats import FORMATS, read_records
from producers.importers.source import ImportedArena, ImportOptions, ImportSummary, define_arenas, make_id
from producers.simulate.world import SimulatedWorld


def battle(first: str, second: str, winner: str, tstamp: float, **fields: Any) -> dict[str, Any]:
    """Return a battle of GenAI-Arena with eight lines in indented JSON."""
    models = {"model_a": f"imagenhub_{first}", "model_b": f"imagenhub_{second}"}
    return models | {"winner": winner, "judge": "u::1", "anony": True, "tstamp": 1707700500 + tstamp} | fields


BATTLES: list[dict[str, Any]] = [
    battle("SDXL_generation", "LCM_generation", "model_a", 14.3167),
    battle("SDXL_generation", "LCM_generation", "model_b", 15, judge="u::2"),
    battle("LCM_generation", "SDXL_generation", "tie", 16.5),
    battle("LCM_generation", "SDXL_generation", "tie (bothbad)", 17.25, judge=None),
    battle("LCM_generation", "SDXL_generation", "model_a", 18, anony=False),
    battle("PNP_edition", "MagicBrush_edition", "model_b", 19),
    battle("PNP_edition", "SDXL_generation", "model_b", 20),
    battle("LCM_generation", "LCM_generation", "tie", 21),
    battle("Bark_speech", "Tortoise_speech", "tie", 22),
]

SOC = """\
# FILE NAME: 00024-00000009.soc
# TITLE: dots and more
# PUBLICATION DATE: 2014-07-09
# NUMBER ALTERNATIVES: 3
# ALTERNATIVE NAME 1: 200
# ALTERNATIVE NAME 2: two hundred 3
# ALTERNATIVE NAME 3: 206
3: 1,2,3
2: 3, 1, 2
"""


def write(path: Path, text: str | Sequence[dict[str, Any]]) -> Path:
    path.write_text(text if isinstance(text, str) else "".join(json.dumps(row) + "\n" for row in text))
    return path


def read(
    name: str, path: Path, options: ImportOptions | None = None
) -> tuple[list[Vote], ImportSummary, list[ImportedArena]]:
    """Import a file; each vote must be one that the pipeline takes, under its matchup_id."""
    options = options or ImportOptions()
    summary = ImportSummary()
    votes = []
    for record in read_records(name, path, options, summary):
        decoded = decode_vote(record.value, 2**62)
        assert isinstance(decoded, DecodedVote)
        assert decoded.fault is None
        assert record.key == decoded.vote.matchup_id
        votes.append(decoded.vote)
    assert summary.imported.total() == len(votes)
    assert summary.read == len(votes) + summary.skipped.total()
    return votes, summary, FORMATS[name].read_arenas(path, options)


def fault_of(name: str, path: Path, options: ImportOptions | None = None) -> str:
    with pytest.raises(ImportFault) as caught:
        list(read_records(name, path, options or ImportOptions(), ImportSummary()))
    return str(caught.value)


@pytest.mark.parametrize("form", ["array", "lines"])
def test_genai_arena_turns_battles_into_votes(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "b.json", json.dumps(BATTLES, indent=2) if form == "array" else BATTLES)
    votes, summary, arenas = read("genai-arena", path)
    assert [(v.arena, v.models, v.ranks, v.mode, v.time) for v in votes] == [
        ("text-to-image", ("SDXL", "LCM"), (1, 2), "rank", 1707700514317),
        ("text-to-image", ("SDXL", "LCM"), (2, 1), "rank", 1707700515000),
        ("text-to-image", ("LCM", "SDXL"), (1, 1), "rank", 1707700516500),
        ("text-to-image", ("LCM", "SDXL"), None, "all_bad", 1707700517250),
        ("image-editing", ("PNP", "MagicBrush"), (2, 1), "rank", 1707700519000),
    ]
    assert summary.skipped == {
        "cast with the models' names in view (--include-named takes them)": 1,
        "between models of two tasks": 1,
        "of a model with itself": 1,
        "of another task: imagenhub speech": 1,
    }
    assert "left out 4" in summary.describe()[0]
    assert [(a.arena.id, [m.id for m in a.models], a.since) for a in arenas] == [
        ("image-editing", ["MagicBrush", "PNP"], 1707700519000),
        ("text-to-image", ["LCM", "SDXL"], 1707700514317),
    ]


def test_genai_arena_takes_named_votes_if_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "b.json", BATTLES)
    votes, summary, _ = read("genai-arena", path, ImportOptions(include_named=True))
    assert len(votes) == 6
    assert summary.skipped.total() == 3


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("image-editing", {"image-editing": 1}),
        ("text-to-image", {"text-to-image": 4}),
        ("pictures", {"pictures": 4}),
    ],
)
def test_genai_arena_takes_one_arena_if_asked(tmp_path: Path, asked: str, expected: dict[str, int]) -> None:
    path = write(tmp_path / "b.json", BATTLES)
    _, summary, arenas = read("genai-arena", path, ImportOptions(arena_id=asked))
    assert summary.imported == expected
    assert [arena.arena.id for arena in arenas] == [asked]


def test_genai_arena_reads_the_table_beside_the_file_or_the_one_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "b.json", BATTLES)
    header = "mokey,Model,Elo,License,Organization,Link\n"
    write(tmp_path / "t2i_leaderboard.csv", header + 'SDXL,"SDXL 1.0",1,openrail++,Stability AI,https://sdxl\n')
    other = write(tmp_path / "other.csv", "Key,Organization\nSDXL,Somebody\n")
    _, _, arenas = read("genai-arena", path)
    lcm, sdxl = arenas[1].models
    assert (sdxl.name, sdxl.organization, sdxl.license, sdxl.url) == (
        "SDXL 1.0", "Stability AI", "openrail++", "https://sdxl",
    )  # fmt: skip
    assert (lcm.name, lcm.organization) == ("LCM", None)
    _, _, arenas = read("genai-arena", path, ImportOptions(models=other))
    assert (arenas[1].models[1].name, arenas[1].models[1].organization) == ("SDXL", "Somebody")
    bad = write(tmp_path / "bad.csv", "who,Organization\nSDXL,Somebody\n")
    with pytest.raises(ImportFault, match=r"bad\.csv:1: has no column key or mokey or id"):
        FORMATS["genai-arena"].read_arenas(path, ImportOptions(models=bad))


def test_importers_hide_voters_and_keep_them_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "b.json", BATTLES)
    votes, _, _ = read("genai-arena", path)
    first, second, again, nobody = (vote.voter for vote in votes[:4])
    assert first is not None
    assert first == again != second
    assert nobody is None
    assert first.startswith("v0.")
    assert "u::" not in first
    other_file = write(tmp_path / "c.json", BATTLES[:2])
    assert read("genai-arena", other_file)[0][0].voter != first
    salted = [read("genai-arena", each, ImportOptions(salt="s"))[0][0].voter for each in (path, other_file)]
    assert salted[0] == salted[1] != first


def test_importers_give_the_same_ids_again_and_other_ids_to_other_arenas(tmp_path: Path) -> None:
    path = write(tmp_path / "b.json", BATTLES)
    votes, _, arenas = read("genai-arena", path)
    copy = write(tmp_path / "renamed.json", BATTLES)
    assert read("genai-arena", copy)[0] == votes
    ids = {vote.vote_id for vote in votes} | {vote.matchup_id for vote in votes}
    assert len(ids) == 2 * len(votes)
    other, _, _ = read("genai-arena", path, ImportOptions(arena_id="elsewhere"))
    assert not {vote.vote_id for vote in other} & ids
    assert define_arenas(arenas, path) == define_arenas(arenas, copy)


def test_define_arenas_gives_valid_control_events(tmp_path: Path) -> None:
    path = write(tmp_path / "b.json", BATTLES)
    arenas = FORMATS["genai-arena"].read_arenas(path, ImportOptions())
    events = [decode_control(encode_control(event)) for event in define_arenas(arenas, path)]
    assert [event.type for event in events] == ["arena.upsert", "model.add", "model.add"] * 2
    assert events[3].to_arena().id == "text-to-image"
    assert (events[3].k, events[3].modes, events[3].time) == (2, ("rank", "all_bad"), 1707700514317)
    assert events[3].reason == "imported from GenAI-Arena's b.json"
    assert len({event.event_id for event in events}) == 6


@pytest.mark.parametrize("form", ["array", "lines"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"winner": "model_c"}, "unknown winner 'model_c'"),
        ({"tstamp": "yesterday"}, "Expected `float`, got `str` - at `$.tstamp`"),
        ({"tstamp": -5}, "its tstamp -5.0 is not a time in seconds since 1970"),
        ({"model_a": "SDXL"}, "the model 'SDXL' is not named LIBRARY_MODEL_TASK"),
    ],
)
def test_battles_name_the_line_of_a_fault(tmp_path: Path, form: str, fields: dict[str, Any], message: str) -> None:
    battles = [BATTLES[0], BATTLES[1], {**BATTLES[0], **fields}, BATTLES[1]]
    text = json.dumps(battles, indent=2) if form == "array" else battles
    path = write(tmp_path / "b.json", text)
    fault = fault_of("genai-arena", path)
    line = 2 + 2 * 8 if form == "array" else 3
    assert fault.startswith(f"{path}:{line}: ")
    assert message in fault
    with pytest.raises(ImportFault):
        FORMATS["genai-arena"].read_arenas(path, ImportOptions())


def test_battles_name_the_line_of_broken_json(tmp_path: Path) -> None:
    path = write(tmp_path / "b.json", '[\n{"model_a": "x"},\n{"model_a" "y"}]')
    assert fault_of("lmarena", path).startswith(f"{path}:3: is not JSON")


def test_lmarena_makes_ids_of_names(tmp_path: Path) -> None:
    battles = [
        {"model_a": "gpt-4-0314", "model_b": "org/Llama 3 (8b)", "winner": "model_b", "tstamp": 1, "judge": "9"},
        {"model_a": "gpt-4-0314", "model_b": "claude-1", "winner": "both_bad", "tstamp": 2, "turn": 1},
    ]
    votes, _, arenas = read("lmarena", write(tmp_path / "b.json", battles))
    assert [(v.arena, v.models, v.ranks, v.mode) for v in votes] == [
        ("chatbot-arena", ("gpt-4-0314", "org-Llama-3-8b"), (2, 1), "rank"),
        ("chatbot-arena", ("gpt-4-0314", "claude-1"), None, "all_bad"),
    ]
    assert [(m.id, m.name) for m in arenas[0].models] == [
        ("claude-1", "claude-1"),
        ("gpt-4-0314", "gpt-4-0314"),
        ("org-Llama-3-8b", "org/Llama 3 (8b)"),
    ]


def test_lmarena_refuses_names_that_give_one_id(tmp_path: Path) -> None:
    battles = [
        {"model_a": "a b", "model_b": "c", "winner": "tie", "tstamp": 1},
        {"model_a": "a/b", "model_b": "c", "winner": "tie", "tstamp": 2},
    ]
    path = write(tmp_path / "b.json", battles)
    with pytest.raises(ImportFault, match=r"b\.json:2: the models 'a b' and 'a/b' would both have the id a-b"):
        FORMATS["lmarena"].read_arenas(path, ImportOptions())


def test_preflib_expands_counts_in_a_shuffled_order(tmp_path: Path) -> None:
    path = write(tmp_path / "00024-00000009.soc", SOC)
    votes, _, arenas = read("preflib", path)
    published = 1404864000000
    assert [vote.time for vote in votes] == [published + i for i in range(5)]
    assert {vote.models for vote in votes} == {("200", "two-hundred-3", "206")}
    assert sorted(vote.ranks or () for vote in votes) == [(1, 2, 3)] * 3 + [(2, 3, 1)] * 2
    assert len({vote.matchup_id for vote in votes}) == 5
    assert votes == read("preflib", path)[0]
    (imported,) = arenas
    assert (imported.arena.id, imported.arena.title, imported.arena.k) == ("dots-and-more", "dots and more", 3)
    assert [(m.id, m.name, m.tags) for m in imported.models] == [
        ("200", "200", ("alternative-1",)),
        ("206", "206", ("alternative-3",)),
        ("two-hundred-3", "two hundred 3", ("alternative-2",)),
    ]
    assert "true order is that of the alternatives" in imported.note
    assert read("preflib", path, ImportOptions(arena_id="dots"))[1].imported == {"dots": 5}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2: 3, 1, 2", "2: 3, 1", "9: the ranking [3, 1] does not hold each of the 3 alternatives once"),
        ("2: 3, 1, 2", "3, 1, 2", "9: '3, 1, 2' is not COUNT: ALTERNATIVE,ALTERNATIVE,..."),
        ("2: 3, 1, 2", "2: 3,{1,2}", "9: '2: 3,{1,2}' is not COUNT"),
        ("NAME 3", "NAME 4", "numbers its alternatives [1, 2, 4], not from 1 on"),
        ("2014-07-09", "July 2014", "its PUBLICATION DATE 'July 2014' is not YYYY-MM-DD"),
        ("two hundred 3", "200", "give no distinct ids: 200, 200, 206"),
        ("# TITLE: dots and more", "# TITLE: ???", "'' is not a valid arena id; give one with --arena-id"),
    ],
)
def test_preflib_names_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert message in fault_of("preflib", write(tmp_path / "x.soc", SOC.replace(old, new)))


KSORT: list[dict[str, Any]] = [
    {"models": ["SDXL", "Flux dev", "Kolors"], "ranks": [3, 1, 1], "tstamp": 1724922000.5, "voter": "alice"},
    {"models": ["Kolors", "Flux dev", "SDXL"], "ranks": [None, 1, None], "tstamp": 1724922001},
    {"models": ["Kolors", "SDXL"], "mode": "all_bad", "time": 1724922002000},
]


def test_ksort_reads_json_lines_and_csv_alike(tmp_path: Path) -> None:
    lines = write(tmp_path / "v.jsonl", KSORT)
    table = write(
        tmp_path / "v.csv",
        "models,ranks,tstamp,time,mode,voter\n"
        "SDXL|Flux dev|Kolors,3|1|1,1724922000.5,,,alice\n"
        "Kolors|Flux dev|SDXL,|1|,1724922001,,,\n"
        "Kolors|SDXL,,,1724922002000,all_bad,\n",
    )
    for path in (lines, table):
        votes, _, arenas = read("ksort", path, ImportOptions(salt="s"))
        assert [(v.models, v.ranks, v.mode, v.time) for v in votes] == [
            (("SDXL", "Flux-dev", "Kolors"), (3, 1, 1), "rank", 1724922000500),
            (("Kolors", "Flux-dev", "SDXL"), (None, 1, None), "best", 1724922001000),
            (("Kolors", "SDXL"), None, "all_bad", 1724922002000),
        ]
        assert votes[0].voter != "alice"
        assert votes[1].voter is None
        assert (arenas[0].arena.id, arenas[0].arena.k, arenas[0].since) == ("ksort", 3, 1724922000500)
        assert [model.name for model in arenas[0].models] == ["Flux dev", "Kolors", "SDXL"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ranks": [1, 2]}, "bad_ranks"),
        ({"ranks": [1, None, 2]}, "bad_ranks"),
        ({"tstamp": None}, "has neither tstamp (seconds since 1970) nor time (ms since 1970)"),
        ({"tstamp": 1e300}, "its tstamp 1e+300 is not a time in seconds since 1970"),
        ({"models": ["SDXL", "SDXL", "Kolors"]}, "bad_ranks"),
        ({"models": "SDXL"}, "Expected `array`, got `str`"),
    ],
)
def test_ksort_names_the_line_of_a_fault(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "v.jsonl", [KSORT[1], {**KSORT[0], **fields}])
    fault = fault_of("ksort", path)
    assert fault.startswith(f"{path}:2: ")
    assert message in fault


def test_kwise_passes_json_lines_on_byte_for_byte(tmp_path: Path) -> None:
    values = [value for batch in SimulatedWorld(seed=1).votes(50) for value in batch]
    values[3] = values[3][:-1] + b', "later_field": [1.50]}'
    path = tmp_path / "v.jsonl"
    path.write_bytes(b"\n".join(values[:20]) + b"\n\n" + b"\r\n".join(values[20:]))
    records = list(read_records("kwise", path, ImportOptions(), ImportSummary()))
    assert [record.value for record in records] == values
    assert all(isinstance(record, Record) and record.key for record in records)
    _, summary, arenas = read("kwise", path, ImportOptions(arena_id="other"))
    assert summary.skipped == {"for another arena: simulated": 50}
    assert arenas == []


def test_kwise_reads_parquet(tmp_path: Path) -> None:
    values = [value for batch in SimulatedWorld(seed=1, all_bad_share=0.2).votes(50) for value in batch]
    table = pa.Table.from_pylist([json.loads(value) for value in values], schema=VOTE_SCHEMA)
    path = tmp_path / "v.parquet"
    pq.write_table(table.append_column("appended_at", pa.array([5] * 50)), path)
    records = list(read_records("kwise", path, ImportOptions(), ImportSummary()))
    assert [record.value for record in records] == values
    pq.write_table(table.drop_columns(["models"]), path)
    assert fault_of("kwise", path).endswith("has no column models")


def test_kwise_names_the_line_of_a_fault(tmp_path: Path) -> None:
    (values,) = SimulatedWorld(seed=1).votes(3)
    path = tmp_path / "v.jsonl"
    path.write_bytes(values[0] + b"\n\n" + values[1].replace(b'"models"', b'"model"') + b"\n")
    assert fault_of("kwise", path).startswith(f"{path}:3: schema: ")
    path.write_bytes(b"no votes\n")
    assert fault_of("kwise", path).startswith(f"{path}:1: not_json: ")
    (tmp_path / "v.parquet").write_bytes(b"no parquet")
    assert "is not a Parquet file of votes" in fault_of("kwise", tmp_path / "v.parquet")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_importers_say_which_file_is_missing(tmp_path: Path, name: str) -> None:
    assert fault_of(name, tmp_path / "gone").startswith(f"{tmp_path / 'gone'}: No such file")


@pytest.mark.parametrize(
    ("name", "expected"), [("a b", "a-b"), ("ä/x", "x"), ("v1.5:x_y", "v1.5:x_y"), ("--", ""), ("_a_", "a")]
)
def test_make_id_replaces_what_may_not_stand_in_an_id(name: str, expected: str) -> None:
    assert make_id(name) == expected
