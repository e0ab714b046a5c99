"""The voting page: a booth over the gateway, and where its matchups come from."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any, Final

import streamlit as st

from dashboard.arena_frame import adopt_arena, choose_arena, draw_notice, tell_unknown_arena
from dashboard.markup import render_title
from dashboard.notices import Notice
from dashboard.pace import TABLE_EVERY
from dashboard.server import gateway_url
from dashboard.shell import open_source
from dashboard.source import UnavailableError
from dashboard.voting.booth import Booth, read_act
from dashboard.voting.errors import GateError
from dashboard.voting.gate import HttpGate, open_gate
from pipeline.contracts.gateway import VOTER_COOKIE

_HERE: Final = Path(__file__).resolve().parent
_BOOTH: Final = "voting:booth"
_GATE: Final = "voting:gate"
_KEY: Final = "booth"
_PROMPTS: Final = "voting:prompts"
_OWN: Final = "own-prompt"
_REFUSED: Final = "voting:refused"


def show_voting_page() -> None:
    """Draw the page."""
    url = gateway_url()
    assert url is not None  # without a gateway there is no such page
    try:
        titles, arena = adopt_arena(open_source())
    except UnavailableError:
        st.html(render_title("Vote"))
        _wait()
        return
    st.html(render_title("Vote", titles[arena]))
    gate = _open_gate(url)
    booth = st.session_state.setdefault(_BOOTH, Booth(arena))
    booth.enter(arena, gate, _now())
    with st.container(horizontal=True, vertical_alignment="bottom", key="controls"):
        choose_arena(titles, arena)
    tell_unknown_arena(titles[arena])
    _draw_booth(booth, gate)
    if _takes_prompts(gate, arena):
        _draw_own_prompt(booth, gate)


@st.fragment(run_every=TABLE_EVERY)
def _wait() -> None:
    """Say what is missing, and start anew when it has come."""
    try:
        open_source().overview()
    except UnavailableError as unavailable:
        draw_notice(unavailable.notice)
        return
    st.rerun()


@st.fragment
def _draw_booth(booth: Booth, gate: HttpGate) -> None:
    """Draw what the reader votes on. The browser says when to look again."""
    booth.open(gate, _now())
    view = booth.view(gate, _now()) | {"arena": booth.arena}
    _component()(key=_KEY, data=view, on_act_change=_take_act)


def _take_act() -> None:
    """Do what the browser asks for, before the booth is drawn again."""
    act = read_act(st.session_state[_KEY].get("act"))
    if act is not None:
        st.session_state[_BOOTH].take(act, st.session_state[_GATE], _now())


def _draw_own_prompt(booth: Booth, gate: HttpGate) -> None:
    """Draw where a prompt of one's own is typed."""
    refused: GateError | None = st.session_state.pop(_REFUSED, None)
    with (
        st.form("own", border=False),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        st.text_input(
            "Or with a prompt of your own",
            key=_OWN,
            max_chars=500,
            placeholder="What should the models make?",
            width="stretch",
        )
        st.form_submit_button("Have it made", on_click=_ask_for, args=(booth, gate))
    if refused is not None:
        draw_notice(Notice("warning", refused.title, str(refused)))


def _ask_for(booth: Booth, gate: HttpGate) -> None:
    """Have made what the reader has typed; refused, it stays there, and what is voted on, too."""
    text = st.session_state[_OWN].strip()
    try:
        if text:
            booth.ask_for(text, gate, _now())
    except GateError as error:
        st.session_state[_REFUSED] = error
    else:
        st.session_state[_OWN] = ""


def _takes_prompts(gate: HttpGate, arena: str) -> bool:
    """Whether voters may type prompts; asked until the gateway has said so once."""
    known: dict[str, bool] = st.session_state.setdefault(_PROMPTS, {})
    if arena not in known:
        try:
            known[arena] = gate.takes_prompts(arena)
        except GateError:
            return False  # the booth says what is the matter
    return known[arena]


def _open_gate(url: str) -> HttpGate:
    if _GATE not in st.session_state:
        st.session_state[_GATE] = open_gate(url, st.context.cookies.get(VOTER_COOKIE), st.context.ip_address)
    gate: HttpGate = st.session_state[_GATE]
    return gate


@cache
def _component() -> Any:
    html, css, js = ((_HERE / f"booth.{end}").read_text("utf-8") for end in ("html", "css", "js"))
    return st.components.v2.component("kwise_booth", html=html, css=css, js=js)


def _now() -> int:
    return time.monotonic_ns() // 1_000_000
