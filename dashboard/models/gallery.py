"""The newest work of a model on its page: pictures, clips and texts with the prompts that they were made for."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard.live import draw_live
from dashboard.markup import clean_text, escape_text, render_legend, render_section
from dashboard.models.made import Made, ask_made
from dashboard.pace import MADE_EVERY

_TITLE: Final = render_section("Newest work", "voted on, the last shown first")
_NOTHING: Final = render_legend("Nothing so far. Work appears once it was voted on, and no voter has it before them.")
_AWAY: Final = render_legend("The gateway, which keeps what models made, does not answer.")
_NO_PROMPT: Final = "Made without a prompt"


@st.fragment(run_every=MADE_EVERY)
def draw_gallery(gateway: str, arena: str, model: str) -> None:
    """Draw what a model made of late, as the gateway at `gateway` has it."""
    made = ask_made(gateway, arena, model)
    draw_live("made-title", _TITLE + (_AWAY if made is None else "" if made else _NOTHING))
    if not made:
        return
    with st.container(horizontal=True, key="made"):
        for place, each in enumerate(made):
            with st.container(gap=None):
                _draw_made(place, each)


def _draw_made(place: int, made: Made) -> None:
    # Streamlit's own captions are Markdown: a prompt could bring links and pictures.
    prompt = made.prompt.strip() or _NO_PROMPT
    if made.media_type.startswith("image/"):
        st.image(made.data, width="stretch", alt=clean_text(prompt))
    elif made.media_type.startswith("video/"):
        st.video(made.data, made.media_type, muted=True, loop=True, alt=clean_text(prompt))
    else:
        lines = "<br>".join(map(escape_text, made.data.decode().splitlines()))
        text = f'<p class="kw-made-text">{lines}</p>'
        draw_live(f"made-{place}", text + _render_caption(prompt))
        return
    draw_live(f"made-{place}", _render_caption(prompt, is_said=True))


def _render_caption(prompt: str, *, is_said: bool = False) -> str:
    """Render a prompt below what was made for it; `is_said`: screen readers have it from the picture."""
    text = escape_text(prompt)
    return f'<p class="kw-caption" title="{text}"{" aria-hidden=true" if is_said else ""}>{text}</p>'
