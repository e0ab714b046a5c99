"""`kwise arena` and `kwise voters`: the control events that they write, and the list of what is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import kwise
from pipeline.contracts.control import ControlEvent, decode_control
from pipeline.contracts.log import CONTROL
from pipeline.eventlog import open_log
from tests.cli.stores import make_store

ARENA = """
[arena]
id = "pictures"
title = "Pictures, made from text"
k = 3
settings = { open_min = 4 }

[[model]]
id = "flux-dev"
name = "FLUX"
access = "open"

[[model]]
id = "old"
retired = true

[[prompt]]
id = "p1"
text = "a cat"
"""


@pytest.fixture
def arena_file(tmp_path: Path) -> Path:
    file = tmp_path / "arena.toml"
    file.write_text(ARENA)
    return file


def invoke(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(kwise, [str(each) for each in arguments], input=stdin)


def read_control(url: str) -> list[ControlEvent]:
    reader = open_log(url).reader({}, live=False)
    try:
        return [decode_control(value) for value in reader.poll(CONTROL, 1000, 0).values]
    finally:
        reader.close()


def test_apply_writes_arena_then_models_then_retirements(tmp_path: Path, arena_file: Path) -> None:
    url = f"sqlite:{tmp_path / 'events.db'}"
    result = invoke("arena", "apply", arena_file, "--to", url, "--format", "json")
    assert result.exit_code == 0, result.output
    events = read_control(url)
    assert [event.type for event in events] == ["arena.upsert", "model.add", "model.add", "model.retire"]
    arena = events[0].to_arena()
    assert (arena.id, arena.k, arena.settings.open_min) == ("pictures", 3, 4)
    assert [prompt.id for prompt in arena.prompts] == ["p1"]
    assert events[3].model == "old"
    assert len({event.event_id for event in events}) == 4
    assert {event.by for event in events} == {None}
    assert [row["event_id"] for row in json.loads(result.stdout)] == [event.event_id for event in events]


def test_apply_reads_stdin_and_names_who_did_it(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'events.db'}"
    result = invoke("arena", "apply", "-", "--to", url, "--by", "jo", stdin=ARENA)
    assert result.exit_code == 0, result.output
    assert "4 control events written" in result.stderr
    assert {event.by for event in read_control(url)} == {"jo"}


def test_dry_run_writes_nothing(tmp_path: Path, arena_file: Path) -> None:
    result = invoke("arena", "apply", arena_file, "--to", f"sqlite:{tmp_path / 'events.db'}", "--dry-run")
    assert result.exit_code == 0
    assert "4 control events would be written" in result.stderr
    assert not (tmp_path / "events.db").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[arena", "not valid TOML"),
        ("[arena]\nid = 'a b'", "arena id 'a b' is not valid"),
        ("[arena]\nid = 'a'\ncolour = 1", "colour"),
        ("[arena]\nid = 'a'\n" + "[[prompt]]\nid = 'p'\ntext = ''\n" * 2, "prompts listed more than once: p"),
        ("[arena]\nid = 'a'\n[[prompt]]\nid = 'p'\ntext = '" + "x" * 2**20 + "'", "too_large"),
    ],
)
def test_faulty_arena_files_are_refused_before_anything_is_written(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "arena.toml"
    file.write_text(text)
    result = invoke("arena", "apply", file, "--to", f"sqlite:{tmp_path / 'events.db'}")
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "events.db").exists()


def test_apply_without_a_file_or_with_a_log_of_no_kind(tmp_path: Path, arena_file: Path) -> None:
    assert invoke("arena", "apply", tmp_path / "nowhere.toml", "--to", "sqlite:x.db").exit_code == 2
    result = invoke("arena", "apply", arena_file, "--to", "nonsense:x")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: nonsense:x")


@pytest.mark.parametrize("target", ["-", "votes.jsonl", "votes.parquet"])
def test_apply_to_what_takes_no_control_events_fails_in_a_line(tmp_path: Path, arena_file: Path, target: str) -> None:
    to = target if target == "-" else tmp_path / target
    result = invoke("arena", "apply", arena_file, "--to", to)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "control" in result.stderr


def test_apply_to_a_folder_writes_its_control_file(tmp_path: Path, arena_file: Path) -> None:
    assert invoke("arena", "apply", arena_file, "--to", f"{tmp_path / 'log'}/").exit_code == 0
    assert len(read_control(f"{tmp_path / 'log'}/")) == 4


def test_list_shows_arenas_with_their_models(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", "videos", "pictures")
    rows = json.loads(invoke("arena", "list", "--store", store, "--format", "json").stdout)
    assert [(row["arena"], row["model"]) for row in rows[:2]] == [("pictures", "alpha"), ("pictures", "beta")]
    assert len(rows) == 10
    assert rows[4]["retired"] is True
    only = invoke("arena", "list", "--store", store, "--arena", "videos", "--format", "csv").stdout
    assert only.splitlines()[2] == 'videos,Title of videos,3,beta,"Beta ""B""",,,,false'


def test_list_of_an_unknown_arena_is_wrong_use(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", "videos", "pictures")
    result = invoke("arena", "list", "--store", store, "--arena", "music")
    assert result.exit_code == 2
    assert "it has pictures, videos" in result.stderr


def test_quarantine_and_restore_write_their_events(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'events.db'}"
    listed = tmp_path / "voters.txt"
    listed.write_text("v2\n\nv1\n")
    first = invoke(
        "voters",
        "quarantine",
        "--to",
        url,
        "--voter",
        "v1",
        "--voters-file",
        listed,
        "--matchup",
        "m1",
        "--reason",
        "bot",
    )
    assert first.exit_code == 0, first.output
    assert invoke("voters", "restore", "--to", url, "--voter", "v1", "--arena", "pictures").exit_code == 0
    retracted, matchups, restored = read_control(url)
    assert (retracted.type, retracted.voters, retracted.arena, retracted.reason) == (
        "voters.retract", ("v1", "v2"), None, "bot",
    )  # fmt: skip
    assert (matchups.type, matchups.matchups) == ("matchups.retract", ("m1",))
    assert (restored.type, restored.voters, restored.arena) == ("voters.restore", ("v1",), "pictures")


def test_many_voters_are_split_into_events_that_fit(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'events.db'}"
    voters = "\n".join(f"v3.{number:0120d}" for number in range(12_000))
    result = invoke("voters", "quarantine", "--to", url, "--voters-file", "-", "--reason", "bots", stdin=voters)
    assert result.exit_code == 0, result.output
    assert [len(event.voters or ()) for event in read_control(url)] == [5000, 5000, 2000]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quarantine", "--voter", "v1"], "--reason is missing"),
        (["quarantine", "--reason", "x"], "name at least one --voter"),
        (["restore", "--voter", "no id"], "'no id' is not a valid id"),
    ],
)
def test_voters_wrong_use(arguments: list[str], said: str) -> None:
    result = invoke("voters", *arguments, "--to", "sqlite:nowhere.db")
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("nowhere.db").exists()
