"""``train``: train a VAE under the detector, with the manual's flags."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arguments import require_count, require_number
from ..words import word
from .check import in_full
from .lines import say
from .runs import look
from .words import counted

if TYPE_CHECKING:
    from ..training.run import Ended

_ABOUT = """\
Train a VAE and watch it for posterior collapse. Without --data_dir it runs on
data that ships: a synthetic cohort of patients (seqset), the help texts of
Python (text), handwritten digits (mlp). Every flag can be typed with hyphens.
"""

_MORE = """\
a --data_dir has train/, valid/ and test/ with one Parquet file a patient, with
the columns variable, value, minute, set_index; collapse-logging make-data DIR
writes one. Every other setting of model, data and Trainer is in reach of
collapse-logging fit --config FILE (LightningCLI).

examples:
  collapse-logging train --fast_detection
  collapse-logging train --fast_detection --max_epochs 2 --log_dir ./my_logs
  collapse-logging train --data_dir ./cohort --output_dir ./outputs --devices 1
"""


def add_parser(commands: Any) -> None:
    """What can be typed."""
    parser = commands.add_parser(
        "train",
        help="train a VAE under the detector, on your patients or on data that ships",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def flag(name: str, help: str, **how: Any) -> None:
        spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        parser.add_argument(*spellings, help=help, **how)

    models = ["seqset", "text", "mlp"]
    flag("model", "what to train (default: seqset)", choices=models, default="seqset")
    flag("fast_detection", "check every 20 steps, for long trainings", action="store_true")
    flag("disable_collapse_detection", "train without the detector", action="store_true")
    flag("stop_on_collapse", "stop after 200 red checks (fast: 100)", action="store_true")
    flag("max_epochs", "epochs at most (default: the model's)", type=int, metavar="N")
    flag("max_steps", "optimiser steps at most", type=int, metavar="N")
    flag("devices", "GPUs, or processes without a GPU (default: 1)", type=int, default=1)
    flag("batch_size", "samples or patients a step (default: the model's)", type=int, metavar="N")
    flag("beta", "weight of the KL (default: the model's)", type=float)
    flag("seed", "of parameters and batches (default: 0)", type=int, default=0)
    flag("data_dir", "your data; seqset alone reads a folder", metavar="DIR")
    flag("log_dir", "of logs (default: ./collapse_logs_<time>)", metavar="DIR")
    flag("output_dir", "of models (default: ./outputs)", metavar="DIR", default="./outputs")
    flag("resume", "go on from this checkpoint", metavar="CKPT")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, then say what a stranger needs; 130 after Ctrl-C, else 0.

    Raises:
        ValueError, TypeError: an option, a folder or a file that cannot be used.
        ModuleNotFoundError: Lightning, rich or a model's data is not installed.
    """
    _require(options)
    training = _training()
    settings = {} if options.beta is None else {"beta": options.beta}
    model, data = training.build(
        options.model,
        options.data_dir,
        options.batch_size,
        options.seed,
        settings,
        word(options.language, "train data"),
    )
    logs, outputs = training.folders(options.log_dir, options.output_dir, options.model)
    watched = not options.disable_collapse_detection
    epochs = options.max_epochs or training.MODELS[options.model].epochs
    limits = {
        "max_epochs": epochs,
        "max_steps": options.max_steps or -1,
        "devices": options.devices,
    }
    if training.is_first():
        say(_beginning(options, model, limits, logs))
    detector = training.detector(
        options.model, options.fast_detection, logs, options.stop_on_collapse, options.language
    )
    ended = training.fit(model, data, [detector] * watched, logs, outputs, options.resume, limits)
    if ended.first:
        say(_ending(options, ended, logs, outputs))
    return 130 if ended.interrupted else 0


def _require(options: argparse.Namespace) -> None:
    for name in ("max_epochs", "max_steps", "batch_size", "devices"):
        if (value := getattr(options, name)) is not None:
            require_count(f"--{name}", value, at_least=1)
    require_count("--seed", options.seed, at_least=0)
    require_number("--beta", options.beta or 0.0)
    if options.data_dir is not None and options.model != "seqset":
        raise ValueError(
            f"--data_dir: expected with --model seqset, which reads a folder of patients, got "
            f"--model {options.model}; leave one of the two out."
        )
    if options.resume is not None and not Path(options.resume).is_file():
        raise ValueError(
            f"--resume: expected a checkpoint, got {options.resume!r}, which is not there; a "
            "training's last one is <output_dir>/<model>_<time>/last.ckpt."
        )


def _training() -> Any:
    try:
        from ..training import run
    except ImportError as error:
        raise ModuleNotFoundError(
            f"collapse-logging train needs {error.name}, which is not installed; "
            "pip install 'collapse-logging[train]'."
        ) from error
    return run


def _beginning(
    options: argparse.Namespace, model: Any, limits: dict[str, int], logs: Path
) -> Iterator[str]:
    language = options.language
    by_step = options.max_steps is not None
    count = limits["max_steps"] if by_step else limits["max_epochs"]
    limit = counted(language, count, "train step" if by_step else "train epoch")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    name = type(model).__name__
    yield word(language, "train begins", model=name, parameters=parameters, limit=limit)
    if options.disable_collapse_detection:
        yield word(language, "train unwatched")
    yield word(language, "train watch", logs=shlex.quote(str(logs)))


def _ending(options: argparse.Namespace, ended: Ended, logs: Path, outputs: Path) -> Iterator[str]:
    language = options.language
    how = "train stopped" if ended.interrupted else "train ended"
    yield ""
    yield word(language, how, steps=counted(language, ended.step, "train step"))
    yield ""
    if options.disable_collapse_detection:
        yield word(language, "train no verdict")
    else:
        for found in look([logs], language=language):
            yield from in_full(found, language)
    yield ""
    folder, last = shlex.quote(str(logs)), outputs / "last.ckpt"
    where = {"train charts": f"tensorboard --logdir {folder}", "train logs": str(logs)}
    if not options.disable_collapse_detection:
        where["train picture"] = f"collapse-logging report {folder}"
        for before in sorted(logs.glob("model_before_collapse_*.ckpt"))[-1:]:
            where["train before"] = str(before)
    if last.exists():
        where["train model"] = str(last)
        if ended.interrupted:
            where["train go on"] = f"collapse-logging train ... --resume {shlex.quote(str(last))}"
    for key, value in where.items():
        yield word(language, "train where", what=word(language, key), where=value)
