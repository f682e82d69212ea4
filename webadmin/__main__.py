"""``python -m webadmin --data DIR --http HOST:PORT [--tls-cert PEM --tls-key PEM]``: serve the web face.

One process with uvicorn, which prints ``ready`` when it listens. Before it listens for anybody it gives up reading
everything but its own code, the certificate and the archiver's socket. Plain HTTP is served on a loopback only.
systemd hands it sockets with the name ``https``, or ``http`` for the one that only redirects, instead of a place.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import mimetypes
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import uvicorn

from appliance import confine
from appliance.errors import MailkeepError, UsageError
from appliance.host import logs
from appliance.host.notify import Notifier
from appliance.host.sockets import inherited
from appliance.services.client import ArchiveClient
from webadmin.app import create_app
from webadmin.redirect import redirect_to_https

_SOCKET = Path("run", "web", "archive.sock")
_CHALLENGES = Path("run", "acme")
_CERTIFICATE_CHECK = 60.0  # seconds between looks at the certificate file


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped; the exit code."""
    options = read_options(arguments)
    confine.die_with_parent()
    logs.set_up("redirect" if options.redirect_to is not None else "web")
    notifier = Notifier.from_environment()
    listeners = inherited().get("https" if options.redirect_to is None else "http", [])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its start and stop are the supervisor's to tell
    try:
        host, port = _endpoint(options.http) if not listeners else ("", 0)
        if options.redirect_to is None:
            for place in [listener.getsockname()[0] for listener in listeners] or [host]:
                _check_safe(place, options.tls_cert)
    except MailkeepError as error:
        print(error.message, file=sys.stderr)
        return 2
    config = uvicorn.Config(
        _application(options),
        host=host,
        port=port,
        ssl_certfile=options.tls_cert,
        ssl_keyfile=options.tls_key,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
        limit_concurrency=512,
    )
    config.load()
    mimetypes.init(files=())  # the types that Python knows, not those of a file that is out of reach later
    mimetypes.add_type("font/woff2", ".woff2")
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    confine_to_own_files(options)
    asyncio.run(_serve(config, options, listeners, notifier))
    return 0


def _application(options: argparse.Namespace) -> Any:
    if options.redirect_to is not None:
        return redirect_to_https(options.redirect_to, options.data / _CHALLENGES)
    return create_app(ArchiveClient(options.data / _SOCKET), secure=options.tls_cert is not None)


class _Server(uvicorn.Server):
    """Tells whoever started it as soon as it listens, and that its loop goes round."""

    def __init__(self, config: uvicorn.Config, notifier: Notifier) -> None:
        super().__init__(config)
        self._notifier = notifier

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._notifier.ready()

    async def on_tick(self, counter: int) -> bool:
        self._notifier.alive()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._notifier.stopping()
        await super().shutdown(sockets)


async def _serve(
    config: uvicorn.Config, options: argparse.Namespace, listeners: list[socket.socket], notifier: Notifier
) -> None:
    watcher = asyncio.create_task(_watch_certificate(config, options))
    try:
        await _Server(config, notifier).serve(listeners or None)
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher


async def _watch_certificate(config: uvicorn.Config, options: argparse.Namespace) -> None:
    """Load a renewed certificate without a restart; a broken one is reported and the old one stays in use."""
    if config.ssl is None or options.tls_cert is None:
        return
    seen = options.tls_cert.stat().st_mtime_ns
    while True:
        await asyncio.sleep(_CERTIFICATE_CHECK)
        try:
            now = options.tls_cert.stat().st_mtime_ns
            if now != seen:
                config.ssl.load_cert_chain(options.tls_cert, options.tls_key)
                seen = now
                logging.info("the new certificate is in use")
        except OSError as error:  # ssl.SSLError is one
            logging.warning("the new certificate cannot be used, the old one stays: %s", error)


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """What the command line says; exits with a usage text where it makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m webadmin", description="The web face of mailkeep.")
    parser.add_argument("--data", type=Path, required=True, help="the data directory")
    parser.add_argument("--http", default="", metavar="HOST:PORT", help="where to listen")
    parser.add_argument("--tls-cert", type=Path, help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, help="private key, PEM")
    parser.add_argument("--redirect-to", type=int, metavar="PORT", help="only send browsers to HTTPS on this port")
    return parser.parse_args(arguments)


def _endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{text!r} is not HOST:PORT, as in 127.0.0.1:8080 or [::]:8443.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _check_safe(host: str, certificate: Path | None) -> None:
    if certificate is None and not _is_loopback(host):
        raise UsageError(
            f"Without a certificate the web pages are served on a loopback address only, not on {host}: passwords "
            "would travel in clear. Give --tls-cert and --tls-key, or listen on 127.0.0.1."
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def confine_to_own_files(options: argparse.Namespace) -> bool:
    """Give up all files but code, certificate and the archiver's socket; False where the kernel cannot do that.

    What only sends browsers to HTTPS keeps, beside its code, the answers to an authority's challenges.

    This process faces the network and makes pages of what strangers wrote, so it is not to be trusted with more.
    """
    confine.undumpable()
    here = Path(__file__).parent
    code = (Path(sys.prefix), Path(sys.base_prefix), here.parent / "appliance", here)
    system = ("/usr/lib", "/usr/share/zoneinfo", "/etc/localtime", "/etc/hosts", "/dev/urandom", "/dev/null")
    tls = [path.parent for path in (options.tls_cert, options.tls_key) if path is not None]
    own = [options.data / _SOCKET.parent] if options.redirect_to is None else []
    challenges = [] if options.redirect_to is None else [options.data / _CHALLENGES]
    in_force = confine.restrict_filesystem(read=[*code, *map(Path, system), *tls, *challenges], write=own)
    if not in_force:
        logging.warning("this kernel has no Landlock: the web process is not confined to its own files")
    return in_force


if __name__ == "__main__":
    sys.exit(main())
