"""`demo:NAME`: the demo models, which need no weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from generation.adapters.base import Adapter, Request
from generation.demo.models import draw_picture, find_flaws
from generation.errors import Interrupted, Refused
from generation.frames import Frames


class DemoAdapter(Adapter):
    """Draws each picture by itself, at the size that is shown."""

    def load(self) -> None:
        """See that there is such a model."""
        find_flaws(self.source)

    def generate(self, requests: Sequence[Request], stop: Callable[[], bool]) -> list[Frames | Refused]:
        """Draw."""
        made: list[Frames | Refused] = []
        for request in requests:
            if stop():
                raise Interrupted("the worker stops")
            form = request.form
            made.append(Frames(draw_picture(self.source, request.text, request.seed, form.width, form.height)[None]))
        return made
