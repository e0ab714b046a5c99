"""`kwise generation`: the demo arena, trying a model, and what a worker needs to start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from generation.demo.models import DEMO_MODELS
from generation.frames import decode_frames
from pipeline.cli.main import kwise
from pipeline.contracts.arena import ArenaFile, parse_arena_file


def run(*arguments: str) -> Result:
    return CliRunner().invoke(kwise, ["generation", *arguments])


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    path = tmp_path / "arena.toml"
    path.write_text(run("demo-arena", "--prompts", "3").stdout)
    return path


def read(path: Path) -> ArenaFile:
    return parse_arena_file(path.read_text(), str(path))


def test_the_demo_arena_is_an_arena_file_with_all_demo_models(arena: Path) -> None:
    parsed = read(arena)
    assert {model.generator for model in parsed.model} == {f"demo:{name}" for name in DEMO_MODELS}
    assert (parsed.arena.id, parsed.arena.k, len(parsed.prompt)) == ("demo", 4, 3)
    assert (parsed.arena.settings.artifact.width, parsed.arena.settings.artifact.height) == (256, 256)
    other = run("demo-arena", "--arena-id", "x", "--k", "2", "--prompts", "3", "--seed", "9").stdout
    assert parse_arena_file(other, "x").prompt != parsed.prompt


def test_a_model_is_tried_as_a_worker_would(arena: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.webp"
    result = run("try", str(arena), "--model", "model-01", "--to", str(target))
    assert (result.exit_code, result.stdout) == (0, "")
    assert decode_frames(target.read_bytes()).pixels.shape == (1, 256, 256, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "nobody"], 2, "has no model nobody"),
        (["--model", "model-01", "--prompt", "x" * 2001], 1, "the limit is 2000"),
        (["--model", "odd"], 1, "the generator 'magic:x' is unknown"),
        (["--model", "run"], 1, "--allow-commands"),
        (["--model", "run", "--allow-commands"], 1, "refused: the model refused"),
        (["--model", "gone"], 1, "there is no demo model 'gone'"),
    ],
)
def test_what_is_wrong_with_a_model_is_one_line(
    arena: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    more = "".join(
        f'[[model]]\nid = "{name}"\ngenerator = "{generator}"\n'
        for name, generator in {"odd": "magic:x", "run": "command:sh -c 'exit 3'", "gone": "demo:gone"}.items()
    )
    text = arena.read_text()
    arena.write_text(text.replace("[[model]]", more + "[[model]]", 1))
    target = tmp_path / "out.webp"
    result = run("try", str(arena), *arguments, "--to", str(target))
    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
    assert not target.exists()


def test_a_worker_needs_its_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KWISE_WORKER_KEY", raising=False)
    assert run("work", "--gateway", "http://127.0.0.1:9").exit_code == 2
    empty = tmp_path / "key"
    empty.write_text("\n")
    result = run("work", "--gateway", "http://127.0.0.1:9", "--key-file", str(empty))
    assert (result.exit_code, "KWISE_WORKER_KEY" in result.stderr) == (2, True)


@pytest.mark.parametrize("name", ["nowhere:x", "generation.errors:nobody", "nocolon", "generation.errors:__doc__", ":"])
def test_a_checker_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("KWISE_WORKER_KEY", "k")
    result = run("work", "--gateway", "http://127.0.0.1:9", "--checker", name)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: --checker {name}")


def test_a_missing_extra_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, arena: Path, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.delitem(sys.modules, "generation.adapters.diffusers_pipeline", raising=False)
    arena.write_text(arena.read_text().replace("demo:aster", "diffusers:/nowhere"))
    result = run("try", str(arena), "--model", "model-01", "--to", str(tmp_path / "x.webp"))
    assert result.exit_code == 1
    assert "diffusers" in result.stderr
    assert "pip install 'kwise-arena[generation]'" in result.stderr
