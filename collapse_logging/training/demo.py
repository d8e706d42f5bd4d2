"""The demo: two small VAEs on real digits, one healthy, one with the commonest mistake."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..monitor import CollapseMonitor
from ..report import Level, Report
from ..terminal import columns, padded
from ..words import catalogue, word
from ..writers import TensorBoardWriter, WandbWriter, Writer
from ..writers.link import dashboard_link, tensorboard_link
from .data import batches, digits
from .vae import VAE

BATCH = 128

_COLOURS = {
    Level.OK: "green",
    Level.YELLOW: "yellow",
    Level.ORANGE: "dark_orange",
    Level.RED: "bold red",
}


@dataclass(frozen=True)
class Case:
    """One of the two trainings."""

    name: str
    reduction: str


CASES = (
    Case("healthy", "sum"),
    Case("averaged", "mean"),
)


def train(
    case: Case,
    folder: Path,
    steps: int,
    seed: int,
    on_step: Callable[[Report | None], None],
    wandb_run: Any = None,
    language: str = "en",
) -> Report:
    """Train one VAE under a monitor and return its last report.

    Args:
        case: which of the two.
        folder: its TensorBoard log folder.
        steps: optimiser steps.
        seed: of parameters and batches.
        on_step: called after each step with the report, if there was a check.
        wandb_run: a W&B run to write to as well.
        language: of the alerts.
    """
    torch.manual_seed(seed)
    model = VAE(reduction=case.reduction)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    writers: list[Writer] = [TensorBoardWriter(folder)]
    if wandb_run is not None:
        writers.append(WandbWriter(wandb_run, own_rows=True))
    with CollapseMonitor(writers, rules="fast", verbose=False, language=language) as monitor:
        monitor.watch(model, latents={"z": "encoder"})
        for x in batches(digits(), BATCH, steps, seed):
            loss, reconstruction = model(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            on_step(monitor.step(reconstruction_loss=reconstruction))
        report = monitor.flush()
    assert report is not None  # steps >= 1
    return report


def free_folder(wanted: Path) -> Path:
    """The folder wanted, or ``<name>-2``, ``-3`` ... if an earlier demo is there."""
    folder, number = wanted, 1
    while folder.exists() and any(folder.iterdir()):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder


def run(
    out: Path, steps: int, seed: int, wandb: bool = False, language: str = "en"
) -> dict[str, Report]:
    """Train both cases, print what happens, and say how to look at it.

    Returns:
        The last report of each case by name.

    Raises:
        ModuleNotFoundError: a package of the extra ``demo`` is missing.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    except ImportError as error:
        raise ModuleNotFoundError(
            "the demo needs rich, which is not installed; pip install 'collapse-logging[demo]'."
        ) from error
    console = Console(highlight=False)
    folder = free_folder(out)
    last: dict[str, Report] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    for case in CASES:
        story = word(language, f"demo {case.name}")
        name = f"[bold]{case.name}[/bold]"
        console.print("\n" + word(language, "demo case", name=name, story=story))
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(word(language, "demo training"), total=steps)
            show = _Narrator(progress.console.print, language)

            def on_step(
                report: Report | None,
                progress: Progress = progress,
                task: Any = task,
                show: _Narrator = show,
            ) -> None:
                progress.advance(task)
                show(report)

            with _offline_run(wandb, folder / case.name, case.name) as wandb_run:
                last[case.name] = train(
                    case, folder / case.name, steps, seed, on_step, wandb_run, language
                )
        console.print(_line(last[case.name], language, word(language, "demo end")))
    _print_what_next(console, folder, wandb, language)
    return last


class _Narrator:
    """Prints a line for the first check and each change of level, and the red alert in full."""

    def __init__(self, say: Callable[..., object], language: str) -> None:
        self._say = say
        self._language = language
        self._level: Level | None = None

    def __call__(self, report: Report | None) -> None:
        if report is None:
            return
        if report.level is not self._level:
            self._level = report.level
            self._say(_line(report, self._language))
        for alert in report.alerts:
            if alert.level is Level.RED:
                self._say(alert.text, style="red", markup=False, soft_wrap=True)


def _line(report: Report, language: str, note: str = "") -> str:
    measures, say = report.latents["z"].measures, catalogue(language)
    shown = "  ".join(
        f"{say[f'demo {name}']} {measures.get(name, float('nan')):<8.3g}"
        for name in ("information", "kl", "growth")
    )
    colour, step = _COLOURS[report.level], say["demo step"].format(report.step)
    level = padded(say[report.level.name], max(columns(say[level.name]) for level in Level))
    return f"{report.level.emoji} [{colour}]{level}[/] {step}  {shown} {note}"


def _print_what_next(console: Any, folder: Path, wandb: bool, language: str) -> None:
    console.print("\n" + word(language, "demo both") + "\n")
    console.print(f"  tensorboard --logdir {folder}\n", soft_wrap=True)
    console.print(word(language, "demo open") + "\n")
    for link in (dashboard_link(), tensorboard_link(["z"])):
        console.print(f"  {link}\n", soft_wrap=True, markup=False)
    if wandb:
        files = f"{folder}/*/wandb/offline-run-*"
        console.print(word(language, "demo wandb", files=files) + "\n", soft_wrap=True)


@contextlib.contextmanager
def _offline_run(wanted: bool, folder: Path, name: str) -> Iterator[Any]:
    """An offline W&B run in the folder, or None."""
    if not wanted:
        yield None
        return
    try:
        import wandb
    except ImportError as error:
        raise ModuleNotFoundError(
            "--wandb needs wandb, which is not installed; pip install 'collapse-logging[wandb]'."
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(silent=True)
    run = wandb.init(
        project="collapse-demo",
        name=name,
        dir=str(folder.resolve()),
        mode="offline",
        settings=settings,
    )
    try:
        yield run
    finally:
        run.finish()
