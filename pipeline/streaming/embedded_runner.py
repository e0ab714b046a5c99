"""FnApiRunner fit for an endless fused pipeline: constant memory, metrics readable while it runs.

Beam 2.77 merges the monitoring infos of each bundle into a lazily nested generator: 20 to 25 KB leak a bundle, and
`metrics()` ends in a RecursionError after some thousand bundles. Here each merge is carried out at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from apache_beam.metrics import monitoring_infos
from apache_beam.runners.portability.fn_api_runner import fn_runner


class EmbeddedRunner(fn_runner.FnApiRunner):
    """Runs one pipeline in this process. Several may run at once, each on a runner of its own."""

    def run_stages(self, stage_context: Any, stages: Any) -> Any:
        """Run the stages with eager merging of monitoring infos."""
        self._latest: dict[Any, Any] = {}

        def merge_now(infos: Iterable[Any]) -> list[Any]:
            merged = list(monitoring_infos.consolidate(infos))
            self._latest.update((monitoring_infos.to_key(info), info) for info in merged)
            return merged

        run = _with_globals(fn_runner.FnApiRunner.run_stages, consolidate_monitoring_infos=merge_now)
        return run(self, stage_context, stages)

    def live_metrics(self) -> Any:
        """Return the metrics up to the last bundle but one at least; any thread may ask while the pipeline runs."""
        return fn_runner.FnApiMetrics({"": list(getattr(self, "_latest", {}).values())})


def _with_globals(function: Any, **replaced: object) -> Callable[..., Any]:
    """Return a copy of `function` that sees other objects behind some of its module's names; Beam's stays as it is."""
    return FunctionType(
        function.__code__,
        {**function.__globals__, **replaced},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
