"""The command `jaxlabel label`: open the run, serve the labelling page, open the browser."""

import os
import signal
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jaxlabel.errors import UsageError
from jaxlabel.label.corrections import buy_corrections, note
from jaxlabel.label.desk import Desk
from jaxlabel.label.guard import Guard, Keys, keys
from jaxlabel.label.names import person_name
from jaxlabel.label.project import PAGE, begin
from jaxlabel.label.server import make_app
from jaxlabel.label.trainer import Trainer
from jaxlabel.oracle.votes import Rule
from jaxlabel.runlog.results import FEATURES_FROM_OUTSIDE
from jaxlabel.runlog.workdir import take_lock

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Options(NamedTuple):
    """How the labelling page is served; each field is a flag of the command.

    Attributes:
      host: the address on which the page listens.
      port: the port on which the page listens; 0 for a free one.
      no_browser: whether not to open a browser.
      password: a password for access from other machines; empty for none.
      votes: how many people must label a picture before it gets a label; if more than 1, the
        majority decides.
      votes_share: the share of the pictures that need so many labels, a fraction from 0 to 1; one
        person labels each of the others.
      arbiter: the name of a person whose label alone decides; empty for none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    no_browser: bool = False
    password: str = ""
    votes: int = 1
    votes_share: str = "1"
    arbiter: str = ""


def label(settings: Any, workdir: Path, options: Options = Options()) -> None:  # noqa: B008
    """Serve the labelling page, and train in the background, until the process is interrupted.

    Args:
      settings: the configuration of the run's recipe.
      workdir: the run's work directory.
      options: how the page is served.

    Raises:
      UsageError: the settings or the directory are not valid, or the page cannot listen there.
      DataError: the pictures cannot be read.
      StoreError: the label store cannot be used.
    """
    import uvicorn

    rule = _checked_rule(options)
    listener = _listen(options)
    project = begin(settings, workdir)
    held = take_lock(workdir / PAGE)  # no other process can serve a page of this directory
    desk = Desk(project, rule)
    charged = note(*buy_corrections(desk))
    trainer = Trainer(project, desk.ready, desk.chosen)
    port = listener.getsockname()[1]
    secrets = keys(workdir)
    guard = Guard(make_app(desk, trainer), secrets, options.host, port, options.password)
    config = uvicorn.Config(guard, log_level="warning", lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    url = _address(options, port, secrets)
    origin = f", {FEATURES_FROM_OUTSIDE}" if settings.outside_features else ""
    print(f"jaxlabel: {len(project.items)} pictures of {settings.data}{origin}, work directory "
          f"{workdir}")  # fmt: skip
    if charged:
        print(f"jaxlabel: {charged}")
    print(f"jaxlabel: the page is at {url}", "jaxlabel: Ctrl+C ends it", sep="\n", flush=True)
    if not options.no_browser:
        threading.Timer(0.3, webbrowser.open, [url]).start()
    threading.Timer(
        1.0, trainer.start
    ).start()  # so that the first question is shown before the training takes the processor
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.run(sockets=[listener])
    finally:
        trainer.stop()
        listener.close()
        os.close(held)


def _checked_rule(options: Options) -> Rule:
    """Return the rule by which votes become labels; raise UsageError if an option is not valid.

    Access from other machines needs a password of at least 8 characters.
    """
    if options.host not in LOOPBACK and not options.password:
        raise UsageError(
            f"--host={options.host} lets other machines in: add --password=..., or keep 127.0.0.1 "
            "and tunnel from the other machine: ssh -N -L PORT:127.0.0.1:PORT THIS_MACHINE, with "
            "the PORT of the printed address"
        )
    if options.password and len(options.password) < 8:
        raise UsageError("--password takes at least 8 characters")
    if not 0 <= options.port < 65536:
        raise UsageError(f"--port={options.port}: it takes 1 to 65535, or 0 for a free one")
    try:
        share = float(options.votes_share)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--votes_share={options.votes_share}: it takes a fraction from 0 to 1")
    if options.votes < 1:
        raise UsageError(f"--votes={options.votes}: it takes a number of people, at least 1")
    arbiter = person_name(options.arbiter)
    if options.arbiter and not arbiter:
        raise UsageError(f"--arbiter={options.arbiter}: it takes a name of letters or digits")
    return Rule(options.votes, arbiter, share)


def _listen(options: Options) -> socket.socket:
    """Return a socket that listens on the host and port of the options.

    Raises:
      UsageError: the socket cannot listen there.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
        listener.listen(128)  # so that a browser that connects before the server runs waits
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {options.host}:{options.port}: {error.strerror}; "
                         "take another --port") from error  # fmt: skip
    return listener


def _address(options: Options, port: int, secrets: Keys) -> str:
    """Return the page's address with the token, which is printed in the terminal."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{port}/?token={quote(secrets.token)}"
