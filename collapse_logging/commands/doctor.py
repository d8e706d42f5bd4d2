"""``doctor``: why is nothing shown? Looks at a log folder, or at a model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .finding import Finding
from .lines import say

_ABOUT = """\
Say why nothing is shown. Of a PATH: is it there, is it the folder that the
training writes to, is there a detector's record in it, and is that being
written? Of a model: which of its modules could be watched, is there a
_last_z_list, and what does a forward give?
"""

_EXAMPLES = """\
exit code: 0 if all is well, 2 if something is not.

examples:
  collapse-logging doctor runs/a
  collapse-logging doctor --model project.model:VAE --input-shape 1,28,28
  collapse-logging doctor --model project.model:VAE --init '{"units": 16}' \\
      --latents encoder --input-shape 64
"""


def add_parser(commands: Any) -> None:
    """What can be typed."""
    parser = commands.add_parser(
        "doctor",
        help="why is nothing shown? Looks at a log folder or a model",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", type=Path, nargs="?", help="a log folder or file")
    parser.add_argument(
        "--model", metavar="MODULE:CLASS", help="a model's class, or a function that makes one"
    )
    parser.add_argument("--init", metavar="JSON", default="{}", help="its keyword arguments")
    parser.add_argument(
        "--latents", metavar="MODULE_PATH", nargs="+", help="what the detector was told to watch"
    )
    parser.add_argument(
        "--input-shape",
        metavar="SHAPE",
        action="append",
        help="shape of one sample without the batch, e.g. 64 or 1,28,28: runs a forward on noise; "
        "once for each argument of forward",
    )
    parser.add_argument(
        "--tokens", type=int, metavar="N", help="the input is whole numbers below N, not noise"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what was found; returns the exit code.

    Raises:
        ValueError: neither or both of a path and a model were given, or a malformed argument.
    """
    if (options.path is None) == (options.model is None):
        raise ValueError("expected a PATH or --model MODULE:CLASS; see doctor --help.")
    wrong = False
    for finding in _findings(options):
        say(finding.lines(options.language))
        wrong = wrong or finding.ok is False
    return 2 if wrong else 0


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    if options.path is not None:
        from .folder import examine

        return examine(options.path, options.language)
    from .model import examine_model

    return examine_model(
        options.model,
        options.init,
        options.latents,
        options.input_shape,
        options.tokens,
        options.language,
    )
