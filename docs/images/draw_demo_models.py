"""Draws docs/images/demo-models.webp: ``python docs/images/draw_demo_models.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from generation.demo.models import DEMO_MODELS, draw_picture

PROMPTS = (
    "three green diamonds above a blue ring on grass",
    "a big brown triangle right of a yellow circle at night",
    "a white triangle inside a yellow cross on sand",
)
SIDE = 128
SEED = 4


def main() -> None:
    """Draw a row for each prompt, a column for each model, best first."""
    rows = [np.hstack([draw_picture(name, prompt, SEED, SIDE, SIDE) for name in DEMO_MODELS]) for prompt in PROMPTS]
    Image.fromarray(np.vstack(rows)).save(Path(__file__).with_name("demo-models.webp"), quality=85, method=6)


if __name__ == "__main__":
    main()
