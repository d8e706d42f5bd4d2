"""A saved W&B workspace: the collapse charts on top, the verdict in the table of runs."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any

from ..writers.base import printable

_CHARTS = (
    ("Level: 0 ok, 1 yellow, 2 orange, 3 red", r"(.+/)?level"),
    ("Information, nats", r".+/information"),
    ("KL, nats", r".+/kl"),
    ("Growth, t value", r".+/growth"),
    ("Share of active units", r".+/active_fraction"),
    ("Posterior variance: 10, 50, 90 % of units", r".+/posterior_variance_p(10|50|90)"),
    ("Variance of the means: 10, 50, 90 % of units", r".+/mean_variance_p(10|50|90)"),
    ("Mutual information, nats", r".+/mutual_information"),
    ("Reconstruction loss", r"reconstruction_loss"),
)
"""Title and tags below the prefix; patterns, so that a view fits runs with any latents."""


def workspace(
    entity: str, project: str, x_axis: str = "collapse/step", prefix: str = "collapse"
) -> Any:
    """A ``wandb_workspaces`` workspace with a pinned section of ours; nothing is sent.

    The user's own panels stay below, as W&B generates them. Variances have a logarithmic axis.

    Args:
        entity: the W&B user or team.
        project: the project.
        x_axis: the step metric; ``"trainer/global_step"`` under Lightning.
        prefix: first part of every key.

    Raises:
        ModuleNotFoundError: ``wandb-workspaces`` is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise ModuleNotFoundError(
            "wandb-view needs the package wandb-workspaces, which is not installed; "
            "pip install 'collapse-logging[wandb-view]'."
        ) from error
    charts = [
        panels.LinePlot(
            title=title,
            x=x_axis,
            metric_regex=f"^{re.escape(prefix)}/{tags}$",
            log_y="ariance" in title,
            smoothing_type="none",
        )
        for title, tags in _CHARTS
    ]
    columns = [f"summary:{prefix}/{name}" for name in ("verdict", "last_healthy_step")]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name="Posterior collapse",
        sections=[
            workspaces.Section(
                name="Posterior collapse",
                panels=charts,
                is_open=True,
                pinned=True,
                layout_settings=workspaces.SectionLayoutSettings(columns=3, rows=3),
            )
        ],
        runset_settings=workspaces.RunsetSettings(pinned_columns=columns),
        auto_generate_panels=True,
    )


def add_parser(commands: Any) -> None:
    """Add ``wandb-view`` to the subparsers of the command line."""
    parser = commands.add_parser(
        "wandb-view", help="save a W&B workspace with the collapse charts on top"
    )
    parser.add_argument("project", metavar="ENTITY/PROJECT", help="as in the project's address")
    parser.add_argument(
        "--x-axis",
        default="collapse/step",
        metavar="METRIC",
        help="default: %(default)s; trainer/global_step for runs of Lightning",
    )
    parser.add_argument("--prefix", default="collapse", help="first part of every key")
    parser.add_argument(
        "--dry-run", action="store_true", help="print it as JSON; no account and no network"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    entity, _, project = options.project.partition("/")
    if not entity or not project or "/" in project:
        raise ValueError(f"expected ENTITY/PROJECT, e.g. my-team/vae, got {options.project!r}.")
    view = workspace(entity, project, options.x_axis, options.prefix)
    if options.dry_run:
        # the very model that save() sends; the package has no public way to see it
        print(view._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=2))
        return 0
    return _save(view)


def _save(view: Any) -> int:
    try:
        print(view.save().url)
    except Exception as error:  # what wandb raises here has no public class in common
        said = printable(str(error)).rstrip(".")
        print(
            f"collapse-logging wandb-view: W&B did not take it: {said}. Log in with 'wandb login', "
            "and see that the project is there and yours.",
            file=sys.stderr,
        )
        return 1
    return 0
