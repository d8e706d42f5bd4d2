"""The command line: one program, ``collapse-logging``."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .arguments import require_count
from .commands import check, doctor, make_data, report, train, wandb_view
from .words import LANGUAGES, default_language


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["fit"]:
        return _fit(arguments)
    parser = _parser()
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        with contextlib.suppress(OSError):  # gone already
            sys.stdout.reconfigure(errors="replace")  # GBK has no letter for an emoji
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("\nstopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ModuleNotFoundError, ValueError, TypeError, OSError) as error:
        print(f"collapse-logging {options.command}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collapse-logging",
        description="Tells people who train VAEs, early, that a latent is collapsing.",
    )
    parser.add_argument("--version", action="version", version=f"collapse-logging {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo", help="train two small VAEs, a healthy and a collapsing one, and show both"
    )
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="log folder")
    demo.add_argument("--steps", type=int, default=1000, help="steps of each training")
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--wandb", action="store_true", help="write offline W&B runs as well")
    demo.set_defaults(run=_demo)
    train.add_parser(commands)
    make_data.add_parser(commands)
    check.add_parser(commands)
    report.add_parser(commands)
    doctor.add_parser(commands)
    for speaker in commands.choices.values():
        speaker.add_argument(
            "--language",
            choices=list(LANGUAGES),
            default=default_language(),
            help="of what is printed or drawn (default: the environment's, else en)",
        )
    wandb_view.add_parser(commands)
    commands.add_parser("fit", help="LightningCLI: fit --config FILE; see fit --help")
    return parser


def _fit(arguments: list[str]) -> int:
    """LightningCLI with any LightningModule and LightningDataModule; the YAML names them."""
    try:
        from pytorch_lightning import LightningDataModule, LightningModule
        from pytorch_lightning.cli import LightningCLI
    except ImportError:
        print(
            "collapse-logging fit needs Lightning; pip install 'collapse-logging[lightning]'.",
            file=sys.stderr,
        )
        return 2
    LightningCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_kwargs={"overwrite": True},
        args=arguments,
    )
    return 0


def _demo(options: argparse.Namespace) -> int:
    require_count("--steps", options.steps, at_least=1)
    from .training.demo import run

    run(options.out, options.steps, options.seed, options.wandb, options.language)
    return 0
