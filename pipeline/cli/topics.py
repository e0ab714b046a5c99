"""`kwise topics`: make and check the topics of an event log on Kafka, and say who may use them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any, Final

import click

from pipeline.cli.output import Format, examples, format_option, misuse, note, print_rows

if TYPE_CHECKING:
    from pipeline.eventlog.kafka.settings import KafkaSettings

_GRANT_COLUMNS: Final = ("user", "operation", "kind", "name")


@click.group()
def command() -> None:
    """Kafka's topics: make and check them, and say who may use them.

    URL is kafka://HOST:PORT[,HOST:PORT...]/[PREFIX]votes. Logins and TLS are set by KWISE_KAFKA_... variables.
    """


@command.command(epilog=examples("kwise topics create kafka://localhost:9092/votes"))
@click.argument("url")
@click.option("--partitions", type=click.IntRange(1, 10_000), metavar="N", help="Of votes.  [default: 8, or as it is]")
@format_option
def create(url: str, partitions: int | None, output_format: Format) -> None:
    """Make the topics votes, control and matchups, or make existing ones right.

    They are kept for ever, stamped with the broker's time, and copied to three brokers where there are so many.
    Of topics that exist, wrong settings are mended and partitions of votes are added up to --partitions; none is
    taken away, and no record is lost.
    """
    from pipeline.contracts.log import VOTES
    from pipeline.eventlog.kafka.topics import PARTITIONS, apply_topics

    wanted = PARTITIONS if partitions is None else {**PARTITIONS, VOTES: partitions}
    changes = apply_topics(_parse(url), wanted, grow=partitions is not None)
    print_rows([asdict(change) for change in changes], ("topic", "change"), output_format)


@command.command(epilog=examples("kwise topics check kafka://localhost:9092/votes"))
@click.argument("url")
@format_option
def check(url: str, output_format: Format) -> None:
    """Say whether the topics are there and keep what they are given; and what to do about the rest.

    The exit code is 1 if anything is bad.
    """
    from pipeline.eventlog.kafka.topics import check_topics

    findings = check_topics(_parse(url))
    print_rows([asdict(found) for found in findings], ("topic", "status", "detail", "advice"), output_format)
    if bad := sum(found.status == "bad" for found in findings):
        if output_format == "table":
            note(f"{bad} thing{'s' * (bad != 1)} to mend")
        raise click.exceptions.Exit(1)


@command.command(
    epilog=examples("kwise topics grant kafka://localhost:9092/votes voter ann --password-file ann.password")
)
@click.argument("url")
@click.argument("role", type=click.Choice(["voter", "job", "operator"]))
@click.argument("user")
@click.option(
    "--password-file",
    type=click.File("r", encoding="utf-8"),
    metavar="FILE",
    help="Make the user's login (SCRAM-SHA-512), or change its password, to the first line of FILE; - is stdin.",
)
@format_option
def grant(url: str, role: str, user: str, password_file: IO[str] | None, output_format: Format) -> None:
    """Let USER do what ROLE needs.

    \b
    voter     writes votes, and nothing else
    job       reads votes and control events, writes matchups: kwise pipeline run
    operator  reads and writes everything, makes and mends topics: kwise arena, kwise voters

    USER is the name of a login, or CN=NAME of a certificate. What was granted before stays granted.
    """  # noqa: D301 - click wants the backspace itself
    from pipeline.eventlog.kafka.grants import grant_role, set_password

    settings = _parse(url)
    _check_user(user)
    password = None if password_file is None else _read_password(password_file)
    granted = grant_role(settings, role, user)
    if password is not None:
        set_password(settings, user, password)
    _print_grants(granted, output_format)


@command.command(epilog=examples("kwise topics revoke kafka://localhost:9092/votes ann --login"))
@click.argument("url")
@click.argument("user")
@click.option("--login", is_flag=True, help="Delete the user's login (SCRAM-SHA-512), too.")
@format_option
def revoke(url: str, user: str, login: bool, output_format: Format) -> None:
    """Take from USER all that was granted on these topics, and print it."""
    from pipeline.eventlog.kafka.grants import delete_login, revoke_grants

    settings = _parse(url)
    _check_user(user)
    revoked = revoke_grants(settings, user)
    if login and not delete_login(settings, user):
        note(f"{user} has no login")
    _print_grants(revoked, output_format)


def _print_grants(grants: Iterable[Any], output_format: Format) -> None:
    print_rows([asdict(each) for each in grants], _GRANT_COLUMNS, output_format)


def _parse(url: str) -> KafkaSettings:
    from pipeline.eventlog.kafka.settings import parse_kafka_url

    return parse_kafka_url(url)


def _check_user(user: str) -> None:
    if not user or user != user.strip() or user == "*":
        misuse(f"{user!r} is no user: give the name of one login, or CN=NAME of a certificate")


def _read_password(file: IO[str]) -> str:
    password = file.readline().strip()
    if not password:
        misuse(f"{file.name} holds no password: write it on the first line")
    return password
