"""Workers as processes on the real queue: killed at any moment, stopped in order, several at once."""

from __future__ import annotations

import io
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from benchmarks.generation import work_server
from benchmarks.generation.work_server import ARENA, KEY, WorkServer, make_matchups, now_ms
from generation.demo.models import draw_picture
from generation.frames import Frames, encode_frames
from pipeline.contracts.generation import ArtifactFormat
from pipeline.contracts.matchup import Matchup
from producers.dispatcher.types import Showing
from tests.conftest import ROOT, wait_until

LIMIT_S = 60.0
FORM = ArtifactFormat(width=96, height=96)


def serving(folder: Path, **settings: Any) -> AbstractContextManager[WorkServer]:
    return work_server.serving(folder, FORM, **settings)


def kill_after(server: WorkServer, process: subprocess.Popen[str], deliveries: int) -> None:
    """Kill a worker when so many more artifacts have begun to arrive."""
    until = server.delivered + deliveries
    wait_until(lambda: server.delivered >= until or process.poll() is not None, LIMIT_S, 0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


def count_leased(server: WorkServer) -> int:
    return server.dispatcher.counts(now_ms()).arenas[ARENA].leased


@contextmanager
def worker(server: WorkServer, *options: str, key: str = KEY) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "pipeline.cli.main", "generation", "work", "--gateway", server.url, *options]
    environment = {**os.environ, "KWISE_WORKER_KEY": key, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def check_showings(server: WorkServer, showings: list[Showing], matchups: list[Matchup]) -> None:
    """Each matchup was shown once, with the artifact of the right model in each slot, whole."""
    assert sorted(each.matchup.matchup_id for each in showings) == [each.matchup_id for each in matchups]
    for showing in showings:
        prompt = showing.matchup.prompt
        assert prompt is not None
        for model, slot in zip(showing.matchup.models, showing.slots, strict=True):
            assert slot.address is not None
            data = server.read(slot.address)
            pixels = draw_picture(model, prompt.text or "", prompt.seed or 0, FORM.width, FORM.height)
            assert data == encode_frames(Frames(pixels[None]), FORM)


def test_a_worker_killed_at_any_moment_loses_nothing_and_shows_nothing_twice(tmp_path: Path) -> None:
    rng = random.Random(7)
    matchups = make_matchups(24)
    showings = []
    with serving(tmp_path, lease_s=0.6, attempts=100) as server:
        server.propose(matchups)
        for _ in range(4):
            with worker(server, "--max-jobs", "4") as process:
                kill_after(server, process, rng.randint(1, 12))
            showings += server.show_all()  # people go on voting meanwhile
        assert len(showings) < len(matchups)
        with worker(server) as process:
            wait_until(lambda: len(showings) + server.ready() == len(matchups), LIMIT_S)
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_S) == 0
        showings += server.show_all()
        check_showings(server, showings, matchups)
        counts = server.dispatcher.counts(now_ms()).arenas[ARENA]
        assert (counts.shown, counts.proposed, counts.ready, counts.cancelled) == (24, 0, 0, 0)


def test_half_an_upload_is_no_artifact(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.propose(make_matchups(1))
        (job, *_) = server.dispatcher.lease_jobs("w", max_jobs=1, now=now_ms())
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = (
                f"PUT /v1/work/jobs/{job.job_id}/artifact?fence={job.fence} HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {KEY}\r\nContent-Type: image/webp\r\nContent-Length: 1000\r\n\r\n"
            )
            connection.sendall(head.encode() + b"RIFF" + b"x" * 400)
            wait_until(lambda: server.delivered == 1)
        with httpx.Client(trust_env=False) as client:  # the gateway has seen the broken connection, and goes on
            answer = client.post(
                f"{server.url}/v1/work/jobs/{job.job_id}/release",
                json={"fence": job.fence},
                headers={"authorization": f"Bearer {KEY}"},
            )
        assert answer.status_code == 200
        assert not [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file() and "objects" in path.parts]


def test_a_worker_that_is_asked_to_stop_gives_everything_back(tmp_path: Path) -> None:
    generators = dict.fromkeys((model for each in make_matchups(6) for model in each.models), "command:sleep 30")
    with serving(tmp_path, generators=generators) as server:
        server.propose(make_matchups(6))
        with worker(server, "--allow-commands", "--max-jobs", "6") as process:
            wait_until(lambda: count_leased(server), LIMIT_S)
            assert server.ready() == 0
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0
        assert "stopped after 0 artifacts" in said
        assert KEY not in said
        assert count_leased(server) == 0


def test_several_workers_share_the_work(tmp_path: Path) -> None:
    matchups = make_matchups(10)
    with serving(tmp_path) as server:
        server.propose(matchups)
        with worker(server, "--parallel", "2", "--until-idle"), worker(server, "--until-idle", "--max-jobs", "2"):
            wait_until(lambda: server.ready() == len(matchups), LIMIT_S)
        check_showings(server, server.show_all(), matchups)


def test_a_broken_model_cancels_its_matchups_and_no_others(tmp_path: Path) -> None:
    matchups = make_matchups(12)
    broken = matchups[0].models[0]
    with serving(tmp_path, generators={broken: "demo:nobody"}) as server:
        server.propose(matchups)
        fine = [each for each in matchups if broken not in each.models]
        assert 0 < len(fine) < len(matchups)
        with worker(server):
            wait_until(lambda: server.ready() == len(fine), LIMIT_S)
            wait_until(lambda: server.dispatcher.counts(now_ms()).arenas[ARENA].cancelled > 0, LIMIT_S)
        check_showings(server, server.show_all(), fine)


def test_metrics_are_served(tmp_path: Path) -> None:
    with serving(tmp_path) as server, worker(server, "--metrics-port", "0") as process:
        server.propose(make_matchups(3))
        assert process.stderr is not None
        url = next(line.split()[-1] for line in process.stderr if line.startswith("metrics at "))
        wait_until(lambda: server.ready() == 3, LIMIT_S)
        made = re.compile(r'^kwise_generation_jobs_total\{model="\w+",outcome="made",worker="0"\} (\d+)', re.MULTILINE)
        with httpx.Client(trust_env=False) as client:
            wait_until(lambda: sum(float(each) for each in made.findall(client.get(url).text)) == 12, LIMIT_S)
            assert "process_resident_memory_bytes" in client.get(url).text


def test_a_wrong_key_is_one_clear_line(tmp_path: Path) -> None:
    with serving(tmp_path) as server, worker(server, key="wrong") as process:
        _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("Error: the gateway at http://127.0.0.1")
    assert "answered 401" in said
    assert "wrong" not in said.replace("wrong_key", "")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_killed_very_often(tmp_path: Path) -> None:
    rng = random.Random(11)
    matchups = make_matchups(200)
    showings: list[Showing] = []
    with serving(tmp_path, lease_s=0.6, attempts=100) as server:
        server.propose(matchups)
        for _ in range(40):
            with worker(server, "--max-jobs", str(rng.randint(1, 8))) as process:
                kill_after(server, process, rng.randint(0, 10))
            showings += server.show_all()
        with worker(server):
            wait_until(lambda: len(showings) + server.ready() == len(matchups), LIMIT_S)
        showings += server.show_all()
        check_showings(server, showings, matchups)


def test_pictures_have_no_metadata_and_one_size(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.propose(make_matchups(2))
        with worker(server, "--until-idle") as process:
            assert process.wait(LIMIT_S) == 0
        for showing in server.show_all():
            for slot in showing.slots:
                assert slot.address is not None
                with Image.open(io.BytesIO(server.read(slot.address))) as image:
                    assert (image.format, image.size) == ("WEBP", (FORM.width, FORM.height))
                    assert not image.getexif()
                    assert not {"exif", "icc_profile", "xmp"}.intersection(image.info)
