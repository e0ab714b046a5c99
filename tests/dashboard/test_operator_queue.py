from __future__ import annotations

import socket

import pytest

from dashboard.operator_queue import fetch_queue, read_queue, render_queue

FIGURES = """\
# HELP kwise_gateway_matchups Matchups in a state now.
# TYPE kwise_gateway_matchups gauge
kwise_gateway_matchups{arena="b",state="proposed"} 12.0
kwise_gateway_matchups{arena="b",state="ready"} 3.0
kwise_gateway_matchups{arena="a",state="leased"} 1e+03
kwise_gateway_oldest_ready_seconds{arena="b"} 61.5
kwise_gateway_waiting_voters{arena="b"} 2.0
kwise_gateway_matchups_ever_total{arena="b",how="made"} 50.0
kwise_gateway_matchups_ever_total{arena="b",how="made_never_shown"} 2.0
kwise_gateway_matchups_ever_total{arena="b",how="voted"} 40.0
kwise_gateway_jobs_total{arena="b",how="done"} 180.0
kwise_gateway_requests_total{method="GET",route="/x",status="200"} 9.0
"""


def test_queue_is_read_by_arena() -> None:
    first, second = read_queue(FIGURES)
    assert (first.arena, first.states, first.oldest) == ("a", {"leased": 1_000}, None)
    assert (second.arena, second.states, second.waiting, second.oldest) == ("b", {"proposed": 12, "ready": 3}, 2, 61.5)


def test_queue_is_shown() -> None:
    first, second = read_queue(FIGURES)
    assert (first.waste, first.artifacts_a_vote) == (None, None)
    assert (second.waste, second.artifacts_a_vote) == (0.04, 4.5)
    html = render_queue([first, second])
    assert "4.0 %" in html
    assert "4.5" in html
    assert "1 min" in html
    assert "1,000" in html
    assert "so far" in render_queue([])


@pytest.mark.parametrize("text", ["", "nonsense", 'kwise_gateway_matchups{arena="a"'])
def test_what_is_no_queue_is_empty(text: str) -> None:
    assert read_queue(text) == []


def test_gateway_that_does_not_answer_is_said_to_be_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert fetch_queue(f"http://127.0.0.1:{port}") is None
    assert "does not answer" in render_queue(None)
