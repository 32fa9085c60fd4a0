"""The commands of `bakeoff`, one module each, imported only when called."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import textwrap
from typing import NamedTuple

from app import __version__
from app.errors import BakeoffError

_ABOUT = "Serve versions of a scikit-learn model behind one URL, and find out which one is better."
_CLOSING = """\
`bakeoff COMMAND --help` shows a command's options and examples. Settings are environment variables: .env.example lists
them. `python -m app` is the same program."""

_GIVING_WAY = 10  # of the 19 steps of niceness: an archive of 750,000 rows made p99 1.9 times as long, and so 1.3 times


class Command(NamedTuple):
    """A command: its module has `add_arguments(parser)` and `run(args) -> exit status`.

    One that `gives_way` may work for minutes beside a service; it gets the processor where nobody else wants it.
    """

    module: str
    help: str
    examples: tuple[str, ...]
    gives_way: bool = False


class Group(NamedTuple):
    """Commands that serve one purpose, and the one line that shows them at work."""

    title: str
    example: str
    commands: dict[str, Command]


GROUPS = (
    Group(
        "Train and publish",
        "bakeoff train --dataset wine",
        {
            "train": Command(
                "app.cli.train",
                "train versions from a data set and publish them",
                ("bakeoff train", "bakeoff train --dataset sales.csv --target revenue --min-r2 0.6 --version v3"),
                gives_way=True,
            ),
            "publish": Command(
                "app.cli.publish",
                "publish a model that you fitted yourself",
                ("bakeoff publish model.joblib --reference holdout.csv --target species --version own",),
            ),
            "models": Command(
                "app.cli.models", "list the versions in the model registry", ("bakeoff models", "bakeoff models --json")
            ),
            "retire": Command(
                "app.cli.retire",
                "take versions out of service without removing them, or bring them back",
                ("bakeoff retire v3 v4", "bakeoff retire --keep 5", "bakeoff retire --undo v3"),
            ),
        },
    ),
    Group(
        "Serve",
        "bakeoff demo",
        {
            "demo": Command(
                "app.cli.demo",
                "start API, monitor and dashboard on this host, send traffic, print the report",
                ("bakeoff demo", "bakeoff demo --requests 2000 --once"),
            ),
            "serve": Command(
                "app.cli.serve", "run the API in the foreground", ("bakeoff serve", "API_PORT=5001 bakeoff serve")
            ),
            "monitor": Command(
                "app.cli.monitor",
                "turn logged requests and labels into reports and alarms",
                ("bakeoff monitor", "bakeoff monitor --rebuild"),
            ),
            "ui": Command("app.cli.ui", "run the dashboard in the foreground", ("bakeoff ui",)),
            "simulate": Command(
                "app.cli.simulate",
                "send new cases of the model's data, with their true labels, to the running API",
                ("bakeoff simulate --requests 2000", "bakeoff simulate --drift petal_length:+1sd --after 500"),
            ),
            "feedback": Command(
                "app.cli.feedback",
                "send the true labels or rewards in a file to the running API",
                ("bakeoff feedback labels.csv", "bakeoff feedback orders.parquet --key order_id --label returned"),
            ),
        },
    ),
    Group(
        "Decide",
        "bakeoff report",
        {
            "report": Command(
                "app.cli.report",
                "show which version is better, how sure that is, and what to do",
                ("bakeoff report", "bakeoff report --url http://bakeoff.example:5000 --json"),
            ),
            "decide": Command(
                "app.cli.decide",
                "promote a version, roll back, or keep the baseline",
                ('bakeoff decide promote v2 --note "fewer errors in every class"', "bakeoff decide rollback --yes"),
            ),
        },
    ),
    Group(
        "Look inside",
        "bakeoff doctor",
        {
            "doctor": Command(
                "app.cli.doctor",
                "check the installation, the model registry and the store, and say what to do",
                ("bakeoff doctor", "bakeoff doctor --json"),
            ),
            "drift": Command(
                "app.cli.drift",
                "compare a file with the data that a version was trained on",
                ("bakeoff drift rows.csv --version v1",),
            ),
            "smoke": Command(
                "app.cli.smoke",
                "test that a running API gives the known answers and rejects bad requests",
                ("bakeoff smoke http://127.0.0.1:5000", "bakeoff smoke --print-answers > answers.json"),
            ),
        },
    ),
    Group(
        "Keep",
        "bakeoff backup --to backups",
        {
            "export": Command(
                "app.cli.export",
                "write the log as a Parquet, CSV or JSON lines file, or follow it as a stream",
                ("bakeoff export --since 2026-11-01 --out log.parquet", "bakeoff export --follow --after 1200-85"),
                gives_way=True,
            ),
            "archive": Command(
                "app.cli.archive",
                "move the old part of the log to Parquet files, in a folder or on S3",
                (
                    "bakeoff archive --before 2026-08-01 --to archive --dry-run",
                    "bakeoff archive --before 2026-08-01 --to s3://bucket/bakeoff",
                ),
                gives_way=True,
            ),
            "erase": Command(
                "app.cli.erase",
                "erase a person's rows from log and archive, while the service runs",
                ("bakeoff erase --user u-17 --dry-run", "bakeoff erase --user u-17 --key order-4711 --yes"),
                gives_way=True,
            ),
            "backup": Command(
                "app.cli.backup",
                "copy the log, the key and the model registry into one file, while the service runs",
                ("bakeoff backup --to backups", "bakeoff backup --to - > backup.tar.gz"),
                gives_way=True,
            ),
            "restore": Command(
                "app.cli.restore",
                "restore a backup, while the service is stopped",
                ("bakeoff restore backup.tar.gz", "bakeoff restore backup.tar.gz --force"),
            ),
            "accept-key": Command(
                "app.cli.accept_key",
                "make this host's key the deployment's, where the one before is lost for good",
                ("bakeoff accept-key", "bakeoff accept-key --yes"),
            ),
            "finish-migration": Command(
                "app.cli.finish_migration",
                "let the log of an earlier release become compact; there is no way back to that release",
                ("bakeoff finish-migration", "bakeoff finish-migration --yes"),
            ),
        },
    ),
)
COMMANDS = {name: command for group in GROUPS for name, command in group.commands.items()}


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0 only on success; errors go to standard error, without traceback."""
    words = sys.argv[1:] if argv is None else argv
    try:
        args = parser_for(words).parse_args(words)
        command = COMMANDS[args.command]
        if command.gives_way and argv is None:  # not within a process that does other things as well
            os.nice(_GIVING_WAY)
        return int(importlib.import_module(command.module).run(args))
    except BakeoffError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def parser_for(words: list[str]) -> argparse.ArgumentParser:
    """The parser for a command line; only the called command's module is imported for its arguments."""
    parser = _Overview(prog="bakeoff")
    parser.add_argument("--version", action="version", version=f"bakeoff {__version__}")
    subparsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=argparse.ArgumentParser
    )
    called = next((word for word in words if word in COMMANDS), None)
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, description=_sentence(command.help), formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == called:
            importlib.import_module(command.module).add_arguments(subparser)
            subparser.epilog = _epilog(subparser.epilog, command.examples)
    return parser


class _Overview(argparse.ArgumentParser):
    """The program's parser. Its help lists the commands by purpose, which argparse has no way to do."""

    def format_help(self) -> str:
        width = max(len(name) for name in COMMANDS)
        groups = [
            f"{group.title}:\n"
            + "".join(_item(name, width, command.help) for name, command in group.commands.items())
            + f"  example: {group.example}\n"
            for group in GROUPS
        ]
        return "\n".join([self.format_usage(), f"{_wrapped(_ABOUT)}\n", *groups, f"{_wrapped(_CLOSING)}\n"])


def _item(name: str, width: int, text: str) -> str:
    return (
        textwrap.fill(text, _columns(), initial_indent=f"  {name:<{width}}  ", subsequent_indent=" " * (width + 4))
        + "\n"
    )


def _epilog(text: str | None, examples: tuple[str, ...]) -> str:
    notes = f"{_wrapped(text)}\n\n" if text else ""
    return notes + "\n  ".join([f"example{'s' * (len(examples) > 1)}:", *examples])


def _sentence(text: str) -> str:
    return _wrapped(f"{text[0].upper()}{text[1:]}.")


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), _columns())


def _columns() -> int:
    """The width of argparse's own lines, up to a length that is pleasant to read."""
    return min(shutil.get_terminal_size().columns - 2, 100)
