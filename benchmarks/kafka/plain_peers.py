"""The same job in the plain style of two peers: a message at a time, rated by openskill, kept in DuckDB.

quix-streams as its tutorials show it, and a bare loop over kafka-python.

Runs in an environment of its own: quix-streams needs an older client of Kafka than this project does.
``python plain_peers.py quix|bare BOOTSTRAP TOPIC VOTES FOLDER`` prints seconds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
from kafka import KafkaConsumer
from openskill.models import PlackettLuce
from quixstreams import Application

_MODEL = PlackettLuce()


class Board:
    """Ratings by openskill, ids already seen, and a table of votes."""

    def __init__(self, folder: Path, votes: int, stop: Any) -> None:
        self.ratings: dict[str, Any] = {}
        self.seen: set[str] = set()
        self.rows: list[tuple[str, str]] = []
        self.count = 0
        self._votes = votes
        self._stop = stop
        self._store = duckdb.connect(str(folder / "votes.duckdb"))
        self._store.sql("CREATE TABLE IF NOT EXISTS votes (vote_id VARCHAR, arena VARCHAR)")

    def rate(self, vote: dict[str, Any]) -> None:
        """Rate one vote; keep it with a thousand others."""
        self.count += 1
        if vote["vote_id"] not in self.seen:
            self.seen.add(vote["vote_id"])
            ranks = vote.get("ranks")
            if ranks and None not in ranks:
                teams = [[self.ratings.setdefault(model, _MODEL.rating(name=model))] for model in vote["models"]]
                for (rating,) in _MODEL.rate(teams, ranks=[float(rank) for rank in ranks]):
                    self.ratings[str(rating.name)] = rating
            self.rows.append((vote["vote_id"], vote["arena"]))
            if len(self.rows) == 1000:
                self._store.executemany("INSERT INTO votes VALUES (?, ?)", self.rows)
                self.rows = []
        if self.count == self._votes:
            self._stop()


def run_quix(bootstrap: str, topic: str, votes: int, folder: Path) -> float:
    """Return seconds from the start of the application to its last vote."""
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{time.time_ns()}",
        auto_offset_reset="earliest",
        state_dir=str(folder / "state"),
        loglevel="ERROR",
    )
    board = Board(folder, votes, app.stop)
    frame = app.dataframe(app.topic(topic, value_deserializer="json"))
    frame.update(board.rate)
    started = time.perf_counter()
    app.run()
    return time.perf_counter() - started


def run_bare(bootstrap: str, topic: str, votes: int, folder: Path) -> float:
    """Return seconds of a bare loop over kafka-python."""
    done: list[bool] = []
    board = Board(folder, votes, lambda: done.append(True))
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    started = time.perf_counter()
    for message in consumer:
        board.rate(json.loads(message.value))
        if done:
            break
    seconds = time.perf_counter() - started
    consumer.close()
    return seconds


if __name__ == "__main__":
    run = {"quix": run_quix, "bare": run_bare}[sys.argv[1]]
    print(run(sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5])))
