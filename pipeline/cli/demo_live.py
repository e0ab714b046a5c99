"""The live demo: job, gateway, a worker with demo models, pages, and simulated voters beside whoever votes."""

from __future__ import annotations

import importlib.util
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pipeline.cli.output import note
from pipeline.cli.processes import STEP_S, Part, Process, ended, require_running, start_kwise, wait_for

if TYPE_CHECKING:
    from pipeline.contracts.control import ControlEvent
    from pipeline.contracts.log import EventLog
    from producers.simulate.world import SimulatedWorld

PAUSE_FILE: Final = "voters-paused"
"""While it is in the demo's folder, simulated voters rest. The page makes and removes it."""

_HOST: Final = "127.0.0.1"
_PROMPTS: Final = 240  # so many that most pictures are in no open matchup, and may be shown on their model's page
_LONGEST_STEP_S: Final = 1.0  # votes that came due in a longer one, such as a night's sleep, are dropped


def run_live(world: SimulatedWorld, votes: int | None, rate: float, folder: Path, port: int) -> None:
    """Run everything until SIGINT or SIGTERM."""
    from dashboard.server import AppSettings, find_free_port, make_address, start_dashboard, stop_dashboard
    from pipeline.cli.logs import open_live_log
    from pipeline.cli.signals import stop_on_signals

    url, store, pause = f"sqlite:{folder / 'events.db'}", folder / "store", folder / PAUSE_FILE
    people_vote = importlib.util.find_spec("fastapi") is not None
    gateway = make_address(_HOST, find_free_port(_HOST)) if people_vote else None
    with stop_on_signals() as stop, ExitStack() as stack:
        note(f"log and store in {folder}")
        note("starting the job and the pages")
        log = open_live_log(url)
        define_arena(log, demo_events(world, time.time_ns() // 1_000_000))
        pause.unlink(missing_ok=True)
        # First: it is what fails if the port is taken.
        page = start_dashboard(store, port, _HOST, AppSettings(gateway=gateway, pause_file=pause))
        stack.callback(stop_dashboard, page)
        job = start_kwise("pipeline", "run", "--from", url, "--store", str(store))
        stack.enter_context(ended(job.process, "job"))
        parts = {"job": job, "page": Part(page)}
        if not wait_for(lambda: _is_published(store, world.arena_id) and _answers(page, port), parts, stop):
            return
        if gateway is not None:
            parts |= _start_gateway(stack, url, store, folder, gateway)
        address = make_address(_HOST, port)
        note(f"the board: {address}   (Ctrl-C stops everything)")
        if gateway is None:
            note("nobody can vote here without the gateway's packages: pip install 'kwise-arena[gateway]'")
        else:
            note(f"vote:      {address}/vote")
        note(f"simulated voters vote beside you, {rate:g} a second, until you pause them on the page")
        names = {model.id: model.name or model.id for model in world.catalogue}
        note(f"true order: {', '.join(names[model] for model in world.truth)}")
        _vote_live(world, votes, rate, log, store, pause, parts, stop)
        note("stopping")


def _start_gateway(stack: ExitStack, url: str, store: Path, folder: Path, address: str) -> dict[str, Part]:
    """Start the gateway, and the worker that draws for it."""
    key = secrets.token_hex(32)
    port = address.rpartition(":")[2]
    places = ("--from", url, "--store", str(store), "--state", str(folder / "gateway"))
    log = folder / "gateway.log"
    gateway = start_kwise("gateway", "serve", *places, "--port", port, log=log, KWISE_GATEWAY_WORKER_KEYS=key)
    stack.enter_context(ended(gateway.process, "gateway"))
    log = folder / "worker.log"
    worker = start_kwise("generation", "work", "--gateway", address, log=log, KWISE_WORKER_KEY=key)
    stack.enter_context(ended(worker.process, "worker"))
    return {"gateway": gateway, "worker": worker}


def _is_published(store: Path, arena_id: str) -> bool:
    from pipeline.store.errors import ReaderError
    from pipeline.store.reader import StoreReader

    try:
        return arena_id in StoreReader(store).arenas()
    except ReaderError:
        return False


def demo_events(world: SimulatedWorld, now: int) -> list[ControlEvent]:
    """Return the world's arena with the demo's prompts, each model drawing as well as voters find it."""
    from generation.demo.models import demo_format, list_prompts
    from pipeline.contracts.arena import ArenaSettings, Model

    settings = ArenaSettings(artifact=demo_format())
    generators = list_generators(world.truth)
    return [
        msgspec.structs.replace(event, model=msgspec.structs.replace(event.model, generator=generators[event.model.id]))
        if isinstance(event.model, Model)
        else msgspec.structs.replace(event, prompts=list_prompts(_PROMPTS), settings=settings)
        for event in world.arena_events(now)
    ]


def list_generators(truth: list[str]) -> dict[str, str]:
    """Return a demo model for each id of `truth` (best first), no two alike, so that better ones draw better."""
    from generation.demo.models import DEMO_MODELS

    names = list(DEMO_MODELS)
    found: dict[str, str] = {}
    taken: dict[str, list[str]] = {}
    for place, model in enumerate(truth):
        name = names[place * len(names) // len(truth)]
        taken.setdefault(name, []).append(model)
    for name, models in taken.items():
        for generation, model in enumerate(reversed(models), start=1):  # a later generation draws better
            found[model] = f"demo:{name}" + (f"-{generation}" if generation > 1 else "")
    return found


def define_arena(log: EventLog, events: Iterable[ControlEvent]) -> None:
    """Write control events into the log."""
    from pipeline.contracts.control import encode_control
    from pipeline.contracts.log import CONTROL, Record

    with closing(log.writer()) as writer:
        writer.append(CONTROL, [Record(encode_control(event)) for event in events])


def make_records(batch: Any) -> list[Any]:
    """Return the records of a `VoteBatch`."""
    from pipeline.contracts.log import Record

    return [Record(value, key) for value, key in zip(batch.values, batch.keys, strict=True)]


def _answers(page: Process, port: int) -> bool:
    from dashboard.server import DashboardError, wait_until_ready

    try:
        wait_until_ready(page, port, _HOST, timeout=STEP_S)
    except DashboardError:
        if page.poll() is not None:
            raise
        return False
    return True


def _vote_live(
    world: SimulatedWorld,
    votes: int | None,
    rate: float,
    log: EventLog,
    store: Path,
    pause: Path,
    parts: Mapping[str, Part],
    stop: threading.Event,
) -> None:
    """Vote at the given rate until stopped, or until `votes` votes are cast; then wait to be stopped.

    These voters ask for matchups of their own, as `kwise matchup suggest` does: what the job proposes is for people.
    """
    import numpy as np

    from pipeline.cli.matchup import suggest_matchups
    from pipeline.contracts.log import VOTES
    from pipeline.store.reader import StoreReader

    reader = StoreReader(store)
    rng = np.random.default_rng([world.seed, time.time_ns()])  # with --dir, vote_ids must not come a second time
    due, left, since = 0.0, votes, time.monotonic()
    with closing(log.writer()) as writer:
        while not stop.wait(STEP_S):
            require_running(parts)
            now = time.monotonic()
            step, since = min(now - since, _LONGEST_STEP_S), now
            if pause.exists():
                continue
            due += step * rate
            count = int(due) if left is None else min(int(due), left)
            if not count:
                continue
            due -= count
            left = None if left is None else left - count
            seed = int(rng.integers(2**63))
            publication, counts = reader.publication(world.arena_id), reader.counts(world.arena_id)
            matchups = suggest_matchups(publication, counts, count, policy=None, seed=seed)
            wall = time.time_ns() // 1_000_000
            writer.append(VOTES, make_records(world.answer_matchups(matchups, rng, start_time=wall, rate=1e6)))
