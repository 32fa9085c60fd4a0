"""The commands of `python -m app`, one module each, imported only when called."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import NamedTuple

from app import __version__
from app.errors import BakeoffError


class Command(NamedTuple):
    """A command's module (with `add_arguments(parser)` and `run(args) -> exit status`) and its one-line help."""

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "train": Command("app.cli.train", "train versions from a data set and publish them"),
    "publish": Command("app.cli.publish", "put your own fitted scikit-learn model on the shelf"),
    "models": Command("app.cli.models", "list the versions on the shelf"),
    "serve": Command("app.cli.serve", "run the api in the foreground"),
    "monitor": Command("app.cli.monitor", "turn the log into evidence, reports and alarms"),
    "ui": Command("app.cli.ui", "run the dashboard in the foreground"),
    "simulate": Command("app.cli.simulate", "play real rows with true labels against the running service"),
    "report": Command("app.cli.report", "say which version is better, how sure that is, and what to do"),
    "decide": Command("app.cli.decide", "promote a version, roll back, or keep the baseline"),
    "drift": Command("app.cli.drift", "compare a file with the data that a version was made from"),
    "smoke": Command("app.cli.smoke", "ask a running api what the shelf says it must answer, and what it must refuse"),
    "backup": Command("app.cli.backup", "copy the log, the key and the shelf into one file, while the service runs"),
    "restore": Command("app.cli.restore", "put a backup back where nothing runs"),
    "doctor": Command("app.cli.doctor", "check the installation, the shelf and the store, and say what to do"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0 only on success; errors go to standard error, without traceback."""
    words = sys.argv[1:] if argv is None else argv
    args = _parser(words).parse_args(words)
    try:
        return int(importlib.import_module(COMMANDS[args.command].module).run(args))
    except BakeoffError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser(words: list[str]) -> argparse.ArgumentParser:
    """The parser; only the called command's module is imported for its arguments."""
    parser = argparse.ArgumentParser(prog="python -m app", description=__doc__)
    parser.add_argument("--version", action="version", version=f"bakeoff {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    called = next((word for word in words if word in COMMANDS), None)
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.help, description=command.help)
        if name == called:
            importlib.import_module(command.module).add_arguments(subparser)
    return parser
