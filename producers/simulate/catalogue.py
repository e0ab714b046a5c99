"""The arena of a simulated world: invented models, laboratories and prompts."""

from __future__ import annotations

from itertools import islice, product
from typing import Final, Literal

from pipeline.contracts.arena import Model, Prompt

# Name, organization, license, access. None of them exists.
_FAMILIES: Final[tuple[tuple[str, str, str, Literal["open", "api"]], ...]] = (
    ("Aster", "North Lab", "Apache-2.0", "open"),
    ("Basalt", "Quarry AI", "proprietary", "api"),
    ("Cirrus", "Skyline", "OpenRAIL-M", "open"),
    ("Dune", "Quarry AI", "proprietary", "api"),
    ("Ember", "Hearth Research", "MIT", "open"),
    ("Fjord", "North Lab", "Apache-2.0", "open"),
    ("Garnet", "Lapidary", "proprietary", "api"),
    ("Heron", "Wetland Institute", "CC-BY-NC-4.0", "open"),
    ("Iris", "Lapidary", "proprietary", "api"),
    ("Juniper", "Wetland Institute", "Apache-2.0", "open"),
    ("Kestrel", "Skyline", "OpenRAIL-M", "open"),
    ("Lumen", "Hearth Research", "MIT", "open"),
)

_SUBJECTS: Final = (
    "a lighthouse in a storm",
    "a fox asleep in autumn leaves",
    "a night market in the rain",
    "a glass teapot with blooming tea",
    "an old clockmaker at his bench",
    "a train crossing a stone viaduct",
    "a bowl of ripe figs",
    "two astronauts playing chess",
)
_STYLES: Final = ("photograph", "watercolour", "isometric drawing")


def list_models(count: int) -> tuple[Model, ...]:
    """Return `count` models: ids ``model-01`` and so on, with names, organizations and licenses."""
    width = max(2, len(str(count)))
    models = []
    for number in range(count):
        generation, family = divmod(number, len(_FAMILIES))
        name, organization, license_name, access = _FAMILIES[family]
        models.append(
            Model(
                id=f"model-{number + 1:0{width}}",
                name=f"{name} {generation + 1}",
                organization=organization,
                license=license_name,
                access=access,
                generator=f"demo:{name.lower()}{f'-{generation + 1}' if generation else ''}",
            )
        )
    return tuple(models)


def list_prompts(count: int) -> tuple[Prompt, ...]:
    """Return up to `count` prompts: ids ``p-0001`` and so on."""
    texts = islice(product(_STYLES, _SUBJECTS), count)
    return tuple(
        Prompt(
            id=f"p-{number:04}",
            text=f"{style.capitalize()} of {subject}",
            seed=number,
            tags=(style.split()[0],),
        )
        for number, (style, subject) in enumerate(texts, start=1)
    )
