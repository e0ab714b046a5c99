"""`kwise doctor`: what is installed, reachable and healthy, and what to do about the rest."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import click

from pipeline.cli.output import Format, examples, format_option, note, print_rows

Status = Literal["ok", "absent", "note", "bad"]

_DISTRIBUTION: Final = "kwise-arena"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*?)\s*(?:;.*extra\s*==\s*['\"]([^'\"]+)['\"].*)?")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `absent`: optional, not installed; `note`: worth knowing; `bad`: to be mended."""

    check: str
    status: Status
    detail: str
    advice: str | None = None


@click.command(epilog=examples("kwise doctor", "kwise doctor --store store --from sqlite:events.db --format json"))
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Look at this store, too.",
)
@click.option("--from", "source", metavar="URL", help="Look at this event log, too; with --store, the job's lag.")
@click.option("--gateway", metavar="URL", help="Look at this gateway, too.")
@click.option(
    "--token-keys",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="KWISE_TOKEN_KEYS",
    show_envvar=True,
    metavar="FILE",
    help="Look at these keys of matchup tokens, too.",
)
@format_option
def command(
    *, store: Path | None, source: str | None, gateway: str | None, token_keys: Path | None, output_format: Format
) -> None:
    """Say what is installed, reachable and healthy, and what to do about the rest.

    The exit code is 1 if anything is bad. Optional packages that are absent are not.
    """
    findings = list(check_installation())
    if source is not None:
        from pipeline.cli.doctor_store import check_log

        findings += check_log(source)
    if store is not None:
        from pipeline.cli.doctor_store import check_store
        from pipeline.cli.times import now_ms

        findings += check_store(store, source, now_ms())
    if gateway is not None or token_keys is not None:
        from pipeline.cli.doctor_gateway import check_gateway, check_token_keys

        findings += [] if gateway is None else check_gateway(gateway)
        findings += [] if token_keys is None else check_token_keys(token_keys)
    print_rows([asdict(finding) for finding in findings], ("check", "status", "detail", "advice"), output_format)
    bad = sum(finding.status == "bad" for finding in findings)
    if bad:
        if output_format == "table":
            note(f"{bad} thing{'s' * (bad != 1)} to mend")
        raise click.exceptions.Exit(1)


def check_installation() -> Iterator[Finding]:
    """Look at Python and at the packages that this distribution asks for, those of extras included."""
    fine = sys.version_info >= (3, 11)
    where = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("python", "ok" if fine else "bad", where, None if fine else "use Python 3.11 or newer")
    try:
        requirements = metadata.requires(_DISTRIBUTION) or []
        yield Finding(_DISTRIBUTION, "ok", metadata.version(_DISTRIBUTION))
    except metadata.PackageNotFoundError:
        yield Finding(_DISTRIBUTION, "bad", "not installed", "in the source folder: make install")
        return
    for requirement in requirements:
        yield from _check_requirement(requirement)


def _check_requirement(requirement: str) -> Iterator[Finding]:
    parsed = _REQUIREMENT.fullmatch(requirement)
    if parsed is None:
        return
    package, wanted, extra = parsed.groups()
    if extra == "dev" or package == _DISTRIBUTION:
        return
    label = f"{package} [{extra}]" if extra else package
    try:
        yield Finding(label, "ok", metadata.version(package))
    except metadata.PackageNotFoundError:
        what = f"{_DISTRIBUTION}[{extra}]" if extra else _DISTRIBUTION
        status: Status = "absent" if extra else "bad"
        yield Finding(label, status, f"not installed; needs {wanted}".rstrip("; "), f"pip install '{what}'")
