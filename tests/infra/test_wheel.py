"""What is installed is all that is needed: a wheel has every file of the packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("pipeline", "producers", "dashboard", "generation", "infra", "benchmarks")
MADE = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc", "*.egg-info", "results.json")


def test_wheel_has_every_file_of_the_packages(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=MADE)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        packed = set(opened.namelist())
    files = {str(path.relative_to(source)) for package in PACKAGES for path in (source / package).rglob("*")}
    wanted = {file for file in files if (source / file).is_file()}
    assert wanted - packed == set()
