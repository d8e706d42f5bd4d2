"""What TensorBoard's text tab says about the numbers: how to read them, and what is in force."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ..report import Level
from .base import escape

_CELL = 48
"""Characters a line of a cell."""

LEVELS = {
    Level.OK: ("the latent carries information, or is coming alive", "nothing"),
    Level.YELLOW: ("one check on the wrong side of a limit", "keep watching"),
    Level.ORANGE: (
        "several indicators, or little information for a while",
        "sum the reconstruction loss over pixels or tokens, do not average it; "
        "lower beta, or warm it up more slowly",
    ),
    Level.RED: (
        "confirmed: little information, and training takes away what is left",
        "stop; restart from the last healthy checkpoint with a lower beta, free bits or a weaker "
        "decoder",
    ),
}
"""Every level: what it means and what to do."""

MEASURES = {
    "level": ("the latent's level; the run's is that of its worst latent", "3"),
    "information": (
        "nats of z about x, an upper bound: ½ Σ [ln(Var μ + E σ²) − E ln σ²]; free bits, offsets "
        "and rescaling cannot fake it",
        "→ 0",
    ),
    "kl": ("nats that the loss pays; never less than information", "→ 0, unless held up"),
    "mismatch": ("KL minus information: paid and carrying nothing", "high with free bits"),
    "growth": (
        "where training pushes, a t value: above the upper limit the latent comes alive, below "
        "the lower it is being shrunk; near 0 once it is large",
        "clearly negative",
    ),
    "active_units": ("units whose mean varies over the data, Var μ > 0.01", "→ 0"),
    "active_fraction": ("the share of them", "→ 0"),
    "informative_units": ("units with Var μ above 5 % of Var μ + E σ²", "→ 0"),
    "passive_units": ("units whose variance is within 0.1 of the prior's", "→ all"),
    "posterior_variance": ("E σ²; mean, p10, p50 and p90 over units", "→ 1, the prior's"),
    "mean_variance": ("Var μ; mean, p10, p50 and p90 over units", "→ 0"),
    "within_batch_variance": ("Var μ within batches, where it differs much", "→ 0"),
    "mutual_information": ("a lower bound of the information, from one batch, in nats", "0"),
    "mutual_information_cap": ("the most that this bound can say: ln of the batch size", ""),
    "decoder_gap": (
        "how much worse the loss gets with another sample's z, from the decoder probe",
        "→ 0 within three errors",
    ),
    "decoder_gap_error": ("its standard error", ""),
    "beta": ("the weight of the KL, where it was told", ""),
    "reconstruction_loss": ("mean over the steps since the last check", "stays or rises"),
    "samples": ("samples behind the numbers", ""),
    "nonfinite": ("elements that are NaN or infinite, left out", ""),
    "clamped": ("elements whose ln σ² was beyond ±30", ""),
}
"""Every scalar: what it is, and what it does in a collapse. Quantiles are with their mean."""

SETTINGS = {
    "kl_threshold": "nats; less KL is an indicator",
    "var_threshold": "a mean variance this near to 1 is an indicator",
    "active_units_threshold": "a smaller share of active units is an indicator",
    "information_limit": "nats; less information is little ...",
    "information_per_dimension": "... or less than this times the latent's dimensions",
    "growth_limit": "below minus this: being shrunk; above it: coming alive",
    "confirm_checks": "checks in a row that confirm red",
    "recovery_checks": "better checks in a row before a level is left",
    "skip_checks": "first checks that raise nothing",
    "check_frequency": "steps from one check to the next",
    "window_size": "steps over which the loss's trend is read",
    "early_stop_patience": "red checks before a run may be stopped",
    "ignore": "indicators that are never raised",
    "optional": "latents that the run's level ignores",
    "literal": "judge as the manual's code did",
}
"""Every field of :class:`~collapse_logging.rules.Rules` in a few words."""

_VIEWS = """\
**Where to look**

- **Custom Scalars**, *Posterior collapse*: the level first, then why. Growth lies on a band, which
  is where it says neither; the bands of the variances run from p10 to p90 of the units.
- **Histograms**: log10 of each unit's posterior variance (all at 0 in a collapse) and of the
  variance of its mean (all far left in a collapse).
- **Images**, *information_map*: from left to right the checks, from top to bottom the units, those
  that carried most first. Violet: nothing; teal: 0.35 nats; yellow: 2 or more; grey: not
  known. The strip below is the level. Violet on the right: a collapse.
- **Text**, *alerts*: every change of level, with reasons and what to do.
"""


def about(settings: Mapping[str, Any]) -> str:
    """How to read what is shown, what to do at each level, and the thresholds in force."""
    levels = [
        (f"{int(level)} {level.emoji} {level.name}", meaning, action)
        for level, (meaning, action) in LEVELS.items()
    ]
    measures = [(name, meaning, end) for name, (meaning, end) in MEASURES.items()]
    rows = [
        (name, str(value) if value != () else "none", SETTINGS.get(name, ""))
        for name, value in settings.items()
    ]
    return "\n".join(
        [
            *_table(("level", "what it means", "what to do"), levels),
            "",
            _VIEWS,
            "**What each number is**",
            "",
            *_table(("number", "what it is", "in a collapse"), measures),
            "",
            "**Settings in force**",
            "",
            *_table(("setting", "value", "what it is"), rows),
        ]
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table of short lines: TensorBoard breaks words anywhere where a long one takes the room."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = ("<br>".join(map(escape, textwrap.wrap(cell, _CELL))) for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return lines
