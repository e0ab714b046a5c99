"""Workers on the real queue: ``python -m benchmarks.generation [--quick]``.

- *demo*: one worker process with two workers in it makes demo pictures of 256 pixels, encodes them and hands them in to
  the real work routes, which a thread of this process serves on the same cores; from the first artifact to the last.
  Also: what drawing and encoding alone take on one core.
- *swaps*: a thousand jobs of six and of twelve models on a device with room for two, in simulated time: 10 s a load,
  1.5 s an artifact. Voters take matchups as fast as they are made, so that the queue is as deep as its demand is, and
  not a backlog. By leases of the real queue, which are batches of one model, a loaded one first; and, as a peer, first
  come, first served. The busy share is that of the device's time which makes artifacts.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.generation.work_server import ARENA, KEY, make_matchups, serving
from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from generation.adapters.base import Adapter, Request, Surroundings
from generation.demo.models import DEMO_MODELS, demo_format, draw_picture, list_prompts
from generation.errors import Refused
from generation.frames import Frames, encode_frames
from generation.worker.residency import Identity, Residency
from pipeline.contracts.generation import WorkJob, WorkPrompt
from pipeline.contracts.matchup import Matchup
from producers.artifacts.media import TEXT
from producers.artifacts.store import open_artifacts
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import Maker, Showing

ROOM = 2
"""Models that fit on the device together."""
LEASE = 8
LOAD_S = 10.0
MAKE_S = 1.5
TARGETS = {
    "demo_matchups_per_s": 10,
    "demo_artifacts_per_s": 40,
    "busy_share_6_models": 0.7,
}


def measure_drawing(count: int) -> dict[str, float]:
    """Return milliseconds that one core takes for a demo picture, drawn and encoded, as a mean over models."""
    prompts = list_prompts(count)
    drawing = encoding = 0.0
    for name in DEMO_MODELS:
        for prompt in prompts:
            started = time.process_time()
            pixels = draw_picture(name, prompt.text, prompt.seed or 0)
            drawn = time.process_time()
            encode_frames(Frames(pixels[None]), demo_format())
            drawing += drawn - started
            encoding += time.process_time() - drawn
    artifacts = count * len(DEMO_MODELS)
    return {"draw_ms": round(1000 * drawing / artifacts, 1), "encode_ms": round(1000 * encoding / artifacts, 1)}


def measure_workers(folder: Path, matchups: list[Matchup]) -> dict[str, float]:
    """Return matchups and artifacts a second, by wall clock and by processor time."""
    with serving(folder, demo_format()) as server:
        server.propose(matchups)
        command = [sys.executable, "-m", "pipeline.cli.main", "generation", "work", "--gateway", server.url]
        environment = {**os.environ, "KWISE_WORKER_KEY": KEY, "OPENBLAS_NUM_THREADS": "1"}
        with subprocess.Popen([*command, "--parallel", "2"], env=environment, stderr=subprocess.DEVNULL) as worker:
            try:
                _wait_for(lambda: server.delivered > 0)
                started, before, cpu = time.perf_counter(), server.delivered, _processor_time(worker.pid)
                _wait_for(lambda: server.ready() == len(matchups))
                seconds, artifacts = time.perf_counter() - started, server.delivered - before
                cpu = _processor_time(worker.pid) - cpu
            finally:
                worker.send_signal(signal.SIGTERM)
    per_second = artifacts / seconds
    k = len(matchups[0].models)
    return {
        "demo_artifacts_per_s": round(per_second, 1),
        "demo_artifacts_per_cpu_s": round(artifacts / cpu, 1),
        "demo_matchups_per_s": round(per_second / k, 1),
    }


def _processor_time(pid: int) -> float:
    """Return seconds of processor time of this process and of process `pid`."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait_for(condition: Callable[[], bool], limit_s: float = 600.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the worker made nothing in ten minutes")
        time.sleep(0.005)


class _Weights(Adapter):
    """A model of one byte of weights that makes nothing."""

    def generate(self, requests: Iterable[Request], stop: Callable[[], bool]) -> list[Frames | Refused]:
        raise NotImplementedError

    @property
    def memory_bytes(self) -> int:
        return 1

    def estimate_bytes(self) -> int:
        return 1


def _new_residency(loads: list[str]) -> Residency:
    def make(identity: Identity) -> Adapter:
        return _Weights(identity.generator or "", identity.settings, Surroundings())

    def note(model: str, _seconds: float) -> None:
        loads.append(model)

    return Residency(make, ROOM, note, lambda _model: None, time.monotonic)


def count_swaps_by_batches(folder: Path, matchups: list[Matchup]) -> int:
    """Return how often weights are loaded when the queue leases batches of one model, and voters take what is ready."""
    loads: list[str] = []
    residency = _new_residency(loads)
    now = matchups[0].created
    artifacts = open_artifacts(folder / "artifacts", clock=lambda: now)
    artifact = artifacts.put(b"made", TEXT)
    settings = DispatcherSettings(durable=False, lease_s=3_600)
    done = shown = 0
    with Dispatcher(
        folder / "queue.db", artifacts, settings, lambda: now, random.Random(1),
        maker_of=lambda _arena, model: Maker(generator=f"demo:{model}"),
    ) as dispatcher:  # fmt: skip
        dispatcher.take_proposals(matchups, {})
        while shown < len(matchups):
            jobs = dispatcher.lease_jobs("w", resident=residency.models, max_jobs=LEASE, now=now)
            before = len(loads)
            if jobs:
                residency.use(jobs[0])
            now += round(1000 * (LOAD_S * (len(loads) - before) + MAKE_S * len(jobs))) or 1000
            for job in jobs:
                dispatcher.finish_job(job.job_id, job.fence, artifact, now)
            done += len(jobs)
            while shown < done // len(matchups[0].models):
                if not isinstance(dispatcher.show_next(ARENA, f"voter-{shown}", now), Showing):
                    break
                shown += 1
    return len(loads)


def count_swaps_first_come(matchups: list[Matchup]) -> int:
    """Return how often weights are loaded when jobs are done in the order in which they came."""
    loads: list[str] = []
    residency = _new_residency(loads)
    for matchup in matchups:
        for model in matchup.models:
            prompt = WorkPrompt(id="p", text="")
            generator = f"demo:{model}"
            residency.use(WorkJob(job_id="j", fence=1, arena=ARENA, model=model, generator=generator, prompt=prompt))
    return len(loads)


def measure_swaps(folder: Path, models: int, total: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return figures and peers for `models` models, per 1,000 jobs."""
    matchups = make_matchups(total // 4, models=models)
    jobs = 4 * len(matchups)
    batches, first_come = count_swaps_by_batches(folder, matchups), count_swaps_first_come(matchups)

    def busy(swaps: int) -> float:
        return round(jobs * MAKE_S / (jobs * MAKE_S + swaps * LOAD_S), 3)

    figures = {
        f"swaps_per_1000_jobs_{models}_models": round(1000 * batches / jobs, 1),
        f"busy_share_{models}_models": busy(batches),
    }
    peers = {
        f"first_come_swaps_per_1000_jobs_{models}_models": round(1000 * first_come / jobs, 1),
        f"first_come_busy_share_{models}_models": busy(first_come),
    }
    return figures, peers


def main() -> None:
    """Run all parts and print one JSON object as the last line."""
    options = parse_options(__doc__, quick="fewer pictures and jobs")
    pictures, matchups, jobs = (3, 25, 200) if options.quick else (20, 250, 1_000)
    machine = describe_machine()
    figures: dict[str, Any] = {"matchups": matchups, "jobs": jobs, "lease": LEASE, "room": ROOM}
    peers: dict[str, Any] = {}
    figures |= measure_drawing(pictures)
    with tempfile.TemporaryDirectory(prefix="kwise-bench-") as name:
        figures |= measure_workers(Path(name) / "demo", make_matchups(matchups))
        for models in (6, 12):
            found, of_peers = measure_swaps(Path(name) / str(models), models, jobs)
            figures |= found
            peers |= of_peers
    result = {
        "benchmark": "generation",
        "figures": figures,
        "peers": peers,
        "targets": TARGETS,
        "versions": describe_versions("httpx", "numpy", "pillow", "uvicorn"),
        "machine": machine,
    }
    hand_out(result, save=options.save)


if __name__ == "__main__":
    main()
