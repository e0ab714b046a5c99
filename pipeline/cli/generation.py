"""`kwise generation`: workers that make the artifacts of matchups, and the demo arena."""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click

from pipeline.cli.options import metrics_options
from pipeline.cli.output import examples, fail, misuse, note
from pipeline.cli.signals import stop_on_signals
from pipeline.cli.times import now_ms

_KEY: Final = "KWISE_WORKER_KEY"
_GIB: Final = 1 << 30


@click.group(name="generation")
def command() -> None:
    """Make the artifacts of matchups."""


@command.command(
    epilog=examples(
        "kwise generation work --gateway http://127.0.0.1:8600 --key-file worker.key",
        "kwise generation work --gateway http://gateway:8600 --device cuda:0 --device cuda:1",
    )
)
@click.option(
    "--gateway", required=True, envvar="KWISE_GATEWAY", show_envvar=True, metavar="URL", help="Address of the gateway."
)
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"File with the worker key. Default: the environment variable {_KEY}.",
)
@click.option("--models", metavar="IDS", help="Work for these models only, separated by commas.")
@click.option("--arenas", metavar="IDS", help="Work for these arenas only, separated by commas.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME",
    help="auto, cpu, or a device of torch such as cuda:1; more than one: a worker each. Default: auto.",
)
@click.option("--parallel", type=click.IntRange(1, 64), default=1, show_default=True, help="Workers on each device.")
@click.option("--max-jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Most jobs of a lease.")
@click.option(
    "--memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GIB",
    help="Memory that the models of one worker may take. Default: 0.9 of a GPU, half of the main memory, shared.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder that remembers the budgets of models that cost money.",
)
@click.option("--allow-commands", is_flag=True, help="Run programs that arena files name: only where they are trusted.")
@click.option("--checker", metavar="MODULE:FUNCTION", help="Function that says why a picture must not be shown.")
@click.option("--until-idle", is_flag=True, help="End when there is nothing to do.")
@metrics_options
def work(
    *,
    gateway: str,
    key_file: Path | None,
    models: str | None,
    arenas: str | None,
    devices: tuple[str, ...],
    parallel: int,
    max_jobs: int,
    memory: float | None,
    state: Path | None,
    allow_commands: bool,
    checker: str | None,
    until_idle: bool,
    metrics_port: int | None,
    metrics_host: str,
) -> None:
    """Lease jobs from a gateway, make their artifacts and deliver them, until SIGINT or SIGTERM.

    Then what is being made is broken off or delivered, everything else goes back, and the command ends with exit code
    0. A worker that is killed loses nothing either: its jobs are leased again when their time has run out.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        from generation.adapters.base import Surroundings
        from generation.safety import load_checker
        from generation.worker.crew import run_crew
        from generation.worker.settings import WorkerSettings
        from generation.worker.stats import StatsBook
        from generation.worker.work_api import WorkApi
        from generation.worker.worker import Worker

        key = _read_key(key_file)
        check = None if checker is None else load_checker(checker)
        base = f"w-{secrets.token_hex(4)}"
        places = [device for device in devices or ("auto",) for _ in range(parallel)]
        books = [StatsBook() for _ in places]
        if metrics_port is not None:
            from generation.worker.metrics import WorkerCollector
            from pipeline.cli.metrics_server import serve_metrics

            stack.enter_context(serve_metrics(WorkerCollector(books), metrics_host, metrics_port))
        api = WorkApi(gateway, key, stop)
        stack.callback(api.close)
        workers = [
            Worker(
                api,
                WorkerSettings(
                    name=f"{base}-{number}",
                    models=_split(models),
                    arenas=_split(arenas),
                    max_jobs=max_jobs,
                    memory_bytes=None if memory is None else int(memory * _GIB),
                    memory_share=1 / places.count(device),
                    until_idle=until_idle,
                ),
                Surroundings(device=device, allow_commands=allow_commands, state=state),
                stats=book,
                announce=note,
                clock=now_ms,
                timer=time.monotonic,
                checker=check,
            )
            for number, (device, book) in enumerate(zip(places, books, strict=True))
        ]
        note(f"working for {gateway} as {base}, {len(workers)} at once; Ctrl-C stops")
        run_crew(workers, stop)
        made = sum(book.read().made for book in books)
        note(f"stopped after {made} artifacts")


@command.command(
    name="demo-arena",
    epilog=examples("kwise generation demo-arena > arena.toml", "kwise arena apply arena.toml --to sqlite:events.db"),
)
@click.option("--arena-id", default="demo", show_default=True, metavar="ID", help="Id of the arena.")
@click.option("--k", type=click.IntRange(2, 8), default=4, show_default=True, help="Models in a matchup.")
@click.option("--prompts", type=click.IntRange(1, 1000), default=40, show_default=True, help="Number of prompts.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Decides the prompts.")
def demo_arena(arena_id: str, k: int, prompts: int, seed: int) -> None:
    """Print an arena file with the demo models, which draw shapes and need no weights."""
    from generation.demo.models import DEMO_MODELS, demo_format, list_prompts
    from producers.simulate.catalogue import list_models

    form = demo_format()
    lines = [
        "[arena]",
        f"id = {_quote(arena_id)}",
        'title = "Demo models"',
        f"k = {k}",
        f"settings.artifact = {{ width = {form.width}, height = {form.height} }}",
    ]
    for model in list_models(len(DEMO_MODELS)):
        lines += ["", "[[model]]"]
        lines += [
            f"{name} = {_quote(str(value))}"
            for name in ("id", "name", "organization", "license", "access", "generator")
            if (value := getattr(model, name)) is not None
        ]
    for prompt in list_prompts(prompts, seed):
        lines += [
            "",
            "[[prompt]]",
            f"id = {_quote(prompt.id)}",
            f"text = {_quote(prompt.text)}",
            f"seed = {prompt.seed}",
        ]
        lines += [f"tags = [{', '.join(_quote(tag) for tag in prompt.tags)}]"] if prompt.tags else []
    print("\n".join(lines))


@command.command(
    name="try",
    epilog=examples(
        "kwise generation try arena.toml --model flux-dev --to try.webp",
        'kwise generation try arena.toml --model flux-dev --prompt "a red circle above a blue square" --to try.webp',
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", required=True, metavar="ID", help="Which model of FILE.")
@click.option("--prompt", metavar="TEXT", help="What to ask for. Default: the first prompt of FILE.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the picture.")
@click.option("--to", "target", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.webp")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, or a device of torch.")
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="As for work.")
@click.option("--allow-commands", is_flag=True, help="As for work.")
def try_model(
    *,
    file: Path,
    model: str,
    prompt: str | None,
    seed: int,
    target: Path,
    device: str,
    state: Path | None,
    allow_commands: bool,
) -> None:
    """Make one artifact with a model of an arena file, as a worker would, and write it to a file."""
    from generation.adapters.base import Request, Surroundings
    from generation.adapters.registry import make_adapter
    from generation.errors import Refused
    from generation.frames import encode_frames
    from generation.prompts import check_prompt
    from pipeline.contracts.arena import parse_arena_file
    from pipeline.contracts.generation import GenerationSettings

    arena = parse_arena_file(file.read_text("utf-8"), str(file))
    chosen = next((each for each in arena.model if each.id == model), None)
    if chosen is None:
        misuse(f"{file} has no model {model}; it has {', '.join(each.id for each in arena.model) or 'none'}")
    prompts = (*arena.arena.prompts, *arena.prompt)
    if prompt is None and not prompts:
        misuse(f"{file} has no prompts: name one with --prompt")
    text = check_prompt(prompt if prompt is not None else prompts[0].text)
    surroundings = Surroundings(device=device, allow_commands=allow_commands, state=state)
    adapter = make_adapter(chosen.generator, chosen.generation or GenerationSettings(), surroundings)
    started = time.monotonic()
    adapter.load()
    loaded = time.monotonic()
    try:
        made = adapter.generate([Request(text, seed, arena.arena.settings.artifact)], lambda: False)[0]
        if isinstance(made, Refused):
            fail(f"refused: {made}")
        target.write_bytes(encode_frames(made, arena.arena.settings.artifact))
    finally:
        adapter.release()
    note(f"loaded in {loaded - started:.1f} s, made in {time.monotonic() - loaded:.1f} s: {target}")


def _read_key(key_file: Path | None) -> str:
    key = key_file.read_text("utf-8").strip() if key_file is not None else os.environ.get(_KEY, "").strip()
    if not key:
        misuse(f"a worker needs its key: --key-file FILE, or the environment variable {_KEY}")
    return key


def _split(ids: str | None) -> tuple[str, ...] | None:
    return None if ids is None else tuple(each.strip() for each in ids.split(",") if each.strip())


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
