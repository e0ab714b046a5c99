"""The process of the app's server: ``python -m dashboard.launch [streamlit's options]``.

It imports and compiles what the pages need before it listens. Streamlit would do so while the first reader waits.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import sys
import threading
from pathlib import Path
from typing import Final

import numpy as np
from streamlit.web.cli import main

import dashboard
from dashboard.pairs.table import tabulate_pairs
from pipeline.rating.pair_counts import Kind, PairCounts, pack_code

_SCRIPTS: Final = ("dashboard.app", "dashboard.launch")
"""What draws a page when it is imported, and this. The screens are no package, and not found."""
_LATER: Final = ("pandas", "PIL.Image")
"""What Streamlit imports when it draws."""
_PATIENCE_S: Final = 3.0
"""Kernels that were compiled on this machine before are there in a second; the app does not wait for others."""


class LeftReaders(logging.Filter):
    """Drops what is logged when a reader has left while something was on the way: a traceback for each closed tab."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is news."""
        error = record.exc_info[1] if record.exc_info else None
        return type(error).__name__ != "WebSocketDisconnected"


def import_pages() -> None:
    """Import all modules of the app."""
    modules = [module.name for module in pkgutil.walk_packages(dashboard.__path__, "dashboard.")]
    for name in [name for name in modules if name not in _SCRIPTS] + list(_LATER):
        importlib.import_module(name)


def compile_kernels() -> None:
    """Compile what predicts pairs, or load what was compiled before."""
    won = PairCounts.from_entries(np.array([pack_code(Kind.WIN, 2, False, 0, 1)]), np.array([1]))
    tabulate_pairs(0, ["a", "b"], won.to_columns())


if __name__ == "__main__":
    import_pages()
    compiling = threading.Thread(target=compile_kernels, daemon=True)
    compiling.start()
    compiling.join(_PATIENCE_S)
    logging.getLogger("uvicorn.error").addFilter(LeftReaders())
    main(["run", str(Path(__file__).with_name("app.py")), *sys.argv[1:]], prog_name="streamlit")
