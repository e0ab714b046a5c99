"""Everything that one gateway is made of, opened in order and closed in the opposite one."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.contracts.keyring_file import KeyringFile, write_keyring
from pipeline.contracts.log import CONTROL, MATCHUPS, VOTES, EventLog, LogUnavailable
from pipeline.contracts.matchup import Matchup
from pipeline.contracts.store import StoreError
from pipeline.contracts.token import Keyring, TokenKey
from pipeline.store.lock import StoreLock
from pipeline.store.reader import StoreReader
from producers.artifacts.store import ArtifactStore, open_artifacts
from producers.async_vote_writer import AsyncVoteWriter
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.intake import Intake
from producers.dispatcher.types import Maker
from producers.gateway.artifacts import ArtifactDesk
from producers.gateway.callers import Callers
from producers.gateway.drawing import MatchupDrawer
from producers.gateway.errors import SettingsError
from producers.gateway.limits import Limit
from producers.gateway.metrics import GatewayMetrics
from producers.gateway.published import PublishedWatch
from producers.gateway.secret_file import open_secrets
from producers.gateway.settings import GatewaySettings
from producers.gateway.showings import RecentShowings, ShowingDesk
from producers.gateway.threads import Threads
from producers.gateway.upkeep import Upkeep
from producers.gateway.voters import Voters
from producers.gateway.votes import VoteDesk
from producers.vote_writer import VoteWriter

QUEUE_NAME: Final = "queue.db"
"""The dispatcher's file in the state folder."""

_MATCHUPS_PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one gateway, by voter and by address."""

    voter: Limit
    address: Limit
    artifacts: Limit
    new_voters: Limit
    custom: Limit


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the routes use. `is_stopping` tells whether the gateway takes nothing new any more."""

    settings: GatewaySettings
    callers: Callers
    limits: Limits
    watch: PublishedWatch
    reader: StoreReader
    dispatcher: Dispatcher
    pictures: ArtifactDesk
    artifacts: ArtifactStore
    keys: KeyringFile
    showings: ShowingDesk
    votes: VoteDesk
    writer: AsyncVoteWriter
    metrics: GatewayMetrics
    threads: Threads
    intake: Intake
    clock: Callable[[], int]
    is_stopping: Callable[[], bool]

    def list_problems(self) -> tuple[str, ...]:
        """Say for people what keeps the gateway from serving; nothing if it can."""
        found = [
            "it is stopping" if self.is_stopping() else None,
            None if self.watch.now.problem is None else f"store: {self.watch.now.problem}",
            None if self.intake.problem is None else f"log: {self.intake.problem}",
            None if self.keys.current().signs else f"keys of tokens: none in {self.keys.path} is active",
        ]
        return tuple(problem for problem in found if problem is not None)


def wall_clock() -> int:
    """Return the time in ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def open_gateway(
    log: EventLog,
    store: Path,
    settings: GatewaySettings,
    *,
    complain: Callable[[str], None],
    is_stopping: Callable[[], bool] = lambda: False,
    clock: Callable[[], int] = wall_clock,
) -> AsyncIterator[Gateway]:
    """Open a gateway between the log and the store at `store`, which need not exist yet.

    On leaving, what is under way is brought to the log, then everything is closed.

    Raises
    ------
    SettingsError, TokenKeyError, LogError, DispatcherError, ArtifactError
        It cannot be opened; says what to do.
    """
    async with AsyncExitStack() as stack:
        inner = stack.enter_context(ExitStack())
        folder = settings.state_folder
        _make_folder(folder)
        inner.callback(_lock(folder, clock()).release)
        log.preflight([VOTES, CONTROL, MATCHUPS])
        secret = open_secrets(folder, lambda: secrets.token_hex(32))
        keys = _open_keys(settings, complain)
        reader = StoreReader(store)
        watch = PublishedWatch(reader)
        inner.callback(watch.close)
        artifacts = open_artifacts(settings.artifacts_place, clock=clock, max_bytes=settings.max_artifact_bytes)
        dispatcher = Dispatcher(
            folder / QUEUE_NAME, artifacts, settings.queue, clock, maker_of=lambda *named: _maker_of(watch, *named)
        )
        inner.callback(dispatcher.close)
        intake = Intake(log, dispatcher, is_known=lambda matchup: _is_known(watch, matchup, clock()))
        inner.callback(intake.close)
        matchups = log.writer(patience_s=_MATCHUPS_PATIENCE_S)
        inner.callback(matchups.close)
        drawer = MatchupDrawer(reader, np.random.default_rng(), clock)
        inner.callback(Upkeep(dispatcher, drawer, matchups, clock, lambda: watch.now.arenas).close)
        writer = await stack.enter_async_context(
            VoteWriter(log.url, check=False, linger=settings.linger_seconds, delivery_timeout=settings.delivery_seconds)
        )
        threads = Threads()
        stack.callback(threads.close)
        voters = Voters(secret.voter_secret)
        shown = RecentShowings()
        custom = drawer if settings.custom_prompts else None
        yield Gateway(
            settings=settings,
            callers=Callers(voters, secret, secrets.token_bytes(32), lambda: secrets.token_hex(16)),
            limits=_make_limits(settings),
            watch=watch,
            reader=reader,
            dispatcher=dispatcher,
            pictures=ArtifactDesk(dispatcher, artifacts, threads),
            artifacts=artifacts,
            keys=keys,
            showings=ShowingDesk(
                dispatcher, keys, voters, watch, custom, settings.max_prompt_chars, matchups, shown, threads, clock
            ),
            votes=VoteDesk(dispatcher, keys, voters, watch, writer, shown, threads, clock),
            writer=writer,
            metrics=GatewayMetrics(dispatcher, clock),
            threads=threads,
            intake=intake,
            clock=clock,
            is_stopping=is_stopping,
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(f"state = {folder}: the folder cannot be made: {error.strerror}") from error


def _lock(folder: Path, now: int) -> StoreLock:
    try:
        return StoreLock(folder, "kwise gateway serve", now)
    except StoreError as error:
        raise SettingsError(f"state = {folder}: another gateway uses this folder ({error})") from None


def _open_keys(settings: GatewaySettings, complain: Callable[[str], None]) -> KeyringFile:
    """Open the keys of tokens; where none are named, make some at the first start."""
    path = settings.token_keys_path
    if settings.token_keys is None and not path.exists():
        write_keyring(path, Keyring((TokenKey("k1", secrets.token_bytes(32)),)), new=True)
        complain(f"made {path}: give the job these keys, too: kwise pipeline run --token-keys {path}")
    keys = KeyringFile(path, complain=complain)
    keys.current().signing  # noqa: B018 - raises where all are retired
    return keys


def _maker_of(watch: PublishedWatch, arena_id: str, model_id: str) -> Maker:
    """Return how a model makes artifacts, as its arena has it."""
    registered = watch.now.arena(arena_id)
    if registered is None:
        return Maker()
    shape = registered.arena.settings.artifact
    model = next((each for each in registered.models if each.id == model_id), None)
    if model is None:
        return Maker(format=shape)
    return Maker(generator=model.generator, generation=model.generation, format=shape)


def _is_known(watch: PublishedWatch, matchup: Matchup, now: int) -> bool:
    """Whether the registry has the models of a matchup, or it is too old to be shown."""
    published = watch.now
    if published.problem is not None:
        raise LogUnavailable(f"the registry of models cannot be read: {published.problem}")
    registered = published.arena(matchup.arena)
    known = set() if registered is None else {model.id for model in registered.models}
    return matchup.expires <= now or known.issuperset(matchup.models)


def _make_limits(settings: GatewaySettings) -> Limits:
    clock = time.monotonic
    minute, hour = 60.0, 3600.0
    return Limits(
        voter=Limit("requests of one voter", settings.voter_per_minute / minute, settings.voter_burst, clock),
        address=Limit("requests from one address", settings.address_per_minute / minute, settings.address_burst, clock),
        artifacts=Limit(
            "artifacts for one address", settings.artifacts_per_minute / minute, settings.artifacts_burst, clock
        ),
        new_voters=Limit(
            "new voters at one address", settings.new_voters_per_hour / hour, settings.new_voters_burst, clock
        ),
        custom=Limit("custom prompts of one voter", settings.custom_per_hour / hour, settings.custom_burst, clock),
    )
