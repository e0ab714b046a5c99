"""The gateway's secrets: made at the first start, in a file that only its owner can read.

``secrets.toml`` in the state folder holds them all, so that the dashboard and workers on the same machine find theirs.
A variable ``KWISE_GATEWAY_<NAME>`` or, better, ``KWISE_GATEWAY_<NAME>_FILE`` (a file that holds nothing else) wins.
"""

from __future__ import annotations

import hmac
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from producers.gateway.errors import SettingsError
from producers.gateway.settings import VARIABLE_PREFIX

SECRETS_NAME: Final = "secrets.toml"
_MIN_CHARS: Final = 32

_HEADER: Final = "# Secrets of this gateway. Whoever can read them can speak for its voters, producers and workers.\n"


class GatewaySecrets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Secrets of one gateway.

    Attributes
    ----------
    voter_secret : str
        Turns cookies into voter ids: another one makes everybody a new voter.
    client_secret : str
        Programs that have it speak for voters of their own (the dashboard).
    proxy_secret : str
        Programs that have it say from which address a request came.
    producer_keys, worker_keys : tuple of str
        Any one of them is good: add the new one before the old one goes.
    """

    voter_secret: str
    client_secret: str
    proxy_secret: str
    producer_keys: tuple[str, ...]
    worker_keys: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            for secret in (value,) if isinstance(value, str) else value:
                if len(secret) < _MIN_CHARS or not secret.isascii():
                    raise SettingsError(f"{name}: a secret has {_MIN_CHARS} or more ASCII characters")

    def __repr__(self) -> str:
        """Leave the secrets out."""
        return "GatewaySecrets(***)"


def open_secrets(folder: Path, make: Callable[[], str], environment: Mapping[str, str] | None = None) -> GatewaySecrets:
    """Return the secrets in `folder`, made by `make` where they are missing; variables of `environment` win.

    Raises
    ------
    SettingsError
        A secret is too short or cannot be read; it is never quoted.
    """
    path = folder / SECRETS_NAME
    if not path.exists():
        _write_new(path, make)
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError:
        raise SettingsError(f"{path} is not valid TOML: mend it, or delete it to get new secrets") from None
    raw |= _read_variables(os.environ if environment is None else environment)
    try:
        return msgspec.convert(raw, GatewaySecrets)
    except (SettingsError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path} or a variable {VARIABLE_PREFIX}...: {error}") from None


def matches(given: str | None, *secrets: str) -> bool:
    """Whether `given` is one of `secrets`, in a time that tells nothing."""
    if given is None:
        return False
    found = [hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode()) for secret in secrets]
    return any(found)


def _write_new(path: Path, make: Callable[[], str]) -> None:
    lists = {"producer_keys", "worker_keys"}
    lines = [
        f'{name} = ["{make()}"]\n' if name in lists else f'{name} = "{make()}"\n'
        for name in GatewaySecrets.__struct_fields__
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(_HEADER + "".join(lines))
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return  # another start was quicker: its secrets hold
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def _read_variables(environment: Mapping[str, str]) -> dict[str, str | list[str]]:
    raw: dict[str, str | list[str]] = {}
    for name in GatewaySecrets.__struct_fields__:
        variable = VARIABLE_PREFIX + name.upper()
        value = environment.get(variable)
        if file := environment.get(f"{variable}_FILE"):
            try:
                value = Path(file).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError):
                raise SettingsError(f"{variable}_FILE: {file} cannot be read") from None
        if value:
            raw[name] = value.split(",") if name.endswith("_keys") else value
    return raw
