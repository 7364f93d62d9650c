"""What the commands share: the options that say where the configuration is, and reading it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Final

from uploadd.config import FLAGS, Config, ConfigError, Loaded
from uploadd.config.spelling import in_environment
from uploadd.gathering import config_file, read_config
from uploadd.settings import SECTIONS

WHICH: Final = (
    "name the DIR that is served, or --config FILE; or say storage.dir in /etc/uploadd/uploadd.toml"
)
"""What to type when nothing says which folder is meant."""


def add_options(parser: argparse.ArgumentParser, *, place: str = "DIR") -> None:
    """``[DIR] --config --set`` and the flags of `FLAGS`; *place* is what may stand for DIR."""
    parser.add_argument("dir", metavar=place, nargs="?", help="where published files come to lie")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="TOML file with settings (/etc/uploadd/uploadd.toml, without DIR); conf.d/*.toml"
        " beside it lie over it",
    )
    for flag, path in FLAGS.items():
        section, key = path.split(".")
        setting = SECTIONS[section].settings[key]
        variable = in_environment((section, key), "").rstrip("=")
        parser.add_argument(
            flag,
            dest=path,
            metavar=key.upper(),
            help=f"{section}.{key} ({setting.default}) [{variable}]",
        )
    parser.add_argument(
        "--set",
        dest="sets",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="one setting, over the file; may come again (see uploadd config default)",
    )


def configuration(args: argparse.Namespace) -> Loaded[Config]:
    """What *args* and everything else say; raises ConfigError."""
    flags = {path: getattr(args, path) for path in FLAGS.values()}
    flags["storage.dir"] = getattr(args, "dir", None)
    return read_config(_file(args), args.sets, flags, environment=os.environ)


def again(args: argparse.Namespace, *words: str) -> str:
    """The command *words* on the folder and with the settings that *args* name."""
    line = ["uploadd", *words, *([args.dir] if args.dir is not None else [])]
    line += ["--config", args.config] if args.config is not None else []
    for flag, path in FLAGS.items():
        line += [flag, str(said)] if (said := getattr(args, path)) is not None else []
    for said in args.sets:
        line += ["--set", said]
    return shlex.join(line)


def _file(args: argparse.Namespace) -> Path | None:
    return config_file(args.config, getattr(args, "dir", None))


def tell(error: ConfigError) -> int:
    """Say all that is wrong on standard error; the exit code."""
    for problem in error.problems:
        print(problem, file=sys.stderr)
    return os.EX_CONFIG
