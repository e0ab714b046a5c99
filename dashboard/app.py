"""The script that Streamlit runs: `kwise dashboard serve` names it."""

from dashboard.shell import run_app

run_app()
