"""``python -m infra.kafka up | fetch | lock``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from infra.kafka.archive import make_archive
from infra.kafka.cluster import KafkaCluster
from infra.kafka.errors import BrokerError
from infra.kafka.jars import LOCK, fetch_jars, kafka_version, make_lock
from infra.kafka.properties import BrokerSecurity
from infra.kafka.security import make_security


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; return the exit code."""
    parser = _make_parser()
    asked = parser.parse_args(arguments)
    try:
        if asked.verb == "up":
            if asked.secure and asked.folder is None:
                parser.error("--secure needs --folder, where logins and certificates are kept")
            return _run_cluster(asked.folder, asked.nodes, asked.port, secure=asked.secure)
        if asked.verb == "fetch":
            paths = fetch_jars()
            make_archive()
            print(f"{len(paths)} jars of Kafka {kafka_version()} in {paths[0].parent}")
        else:
            title = "# Apache Kafka's broker: group:artifact:version sha256. Made anew by: python -m infra.kafka lock\n"
            LOCK.write_text(title + make_lock(), "utf-8")
            print(f"wrote {LOCK}: read what changed before you commit it")
    except BrokerError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.kafka", description="Apache Kafka on this machine.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", help="run a cluster until Ctrl-C")
    up.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="how many (default: 1)")
    up.add_argument("--port", type=int, default=9092, help="of the first node; the others follow (default: 9092)")
    up.add_argument("--folder", type=Path, help="keeps the records (default: a temporary folder, deleted at the end)")
    up.add_argument("--secure", action="store_true", help="TLS, logins, access control; logins in FOLDER/security")
    verbs.add_parser("fetch", help="fetch and check the jars, and prepare quick starts")
    verbs.add_parser("lock", help="for maintainers: write kafka.lock anew")
    return parser


def _run_cluster(folder: Path | None, nodes: int, port: int, *, secure: bool) -> int:
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    security = _make_security(folder, secure=secure)
    try:
        with KafkaCluster(folder, nodes=nodes, ports=range(port, port + nodes), security=security) as cluster:
            print(f"Kafka {kafka_version()} is ready at {cluster.bootstrap}; Ctrl-C stops it.", flush=True)
            if security is not None:
                print(f"Log in as its administrator: export KWISE_KAFKA_FILE={security.admin}", flush=True)
            cluster.wait_ended()
    except KeyboardInterrupt:
        pass
    return 0


def _make_security(folder: Path | None, *, secure: bool) -> BrokerSecurity | None:
    """Return how a cluster is guarded; a folder that was guarded once, or was not, stays so."""
    if folder is None:
        return None
    guarded, used = (folder / "security").is_dir(), any(folder.glob("node-*"))
    if guarded and not secure:
        raise BrokerError(f"{folder} holds a guarded cluster: start it with --secure.")
    if secure and used and not guarded:
        raise BrokerError(f"{folder} holds a cluster without logins: name another folder for one with --secure.")
    return make_security(folder / "security") if secure else None


if __name__ == "__main__":
    sys.exit(main())
