"""English: how to read what is shown in TensorBoard, number by number and setting by setting."""

from __future__ import annotations

from collections.abc import Mapping

ABOUT: Mapping[str, str] = {
    "about level": "level",
    "about meaning": "what it means",
    "about action": "what to do",
    "about numbers": "**What each number is**",
    "about number": "number",
    "about is": "what it is",
    "about end": "in a collapse",
    "about settings": "**Settings in force**",
    "about setting": "setting",
    "about value": "value",
    "about none": "none",
    "about views": """\
**Where to look**

- **Custom Scalars**, *Posterior collapse*: the level first, then why. Growth lies on a band, which
  is where it says neither; the bands of the variances run from p10 to p90 of the units.
- **Histograms**: log10 of each unit's posterior variance (all at 0 in a collapse) and of the
  variance of its mean (all far left in a collapse).
- **Images**, *information_map*: from left to right the checks, from top to bottom the units, those
  that carried most first. Violet: nothing; teal: 0.35 nats; yellow: 2 or more; grey: not
  known. The strip below is the level. Violet on the right: a collapse.
- **Text**, *alerts*: every change of level, with reasons and what to do.
""",
    "dashboard": "Posterior collapse",
    "dashboard of": "Posterior collapse ({prefix})",
    "dashboard worst": "worst level: {levels}",
    "dashboard latent": "{title}: {latent}",
    "chart of": "{latent}: {chart}",
    "chart level": "level: {levels}",
    "chart information": "information and KL, nats",
    "chart units": "active and informative units",
    "chart means": "variance of means (collapse: 0), p10-p90",
    "chart posterior": "posterior variance (collapse: 1), p10-p90",
    "chart perplexity": "classes or codes in use (perplexity)",
    "chart usage": "share of codes in use (collapse: 0)",
    "chart growth": "growth: alive above, dying below the band",
    "meaning OK": "the latent carries information, or is coming alive",
    "action OK": "nothing",
    "meaning YELLOW": "one check on the wrong side of a limit",
    "action YELLOW": "keep watching",
    "meaning ORANGE": "several indicators, or little information for a while",
    "action ORANGE": "sum the reconstruction loss over pixels or tokens, do not average it; "
    "lower beta, or warm it up more slowly",
    "meaning RED": "confirmed: little information, and training takes away what is left",
    "action RED": "stop; restart from the last healthy checkpoint with a lower beta, free bits or "
    "a weaker decoder",
    "measure level": "the latent's level; the run's is that of its worst latent",
    "end level": "3",
    "measure information": "nats of z about x, an upper bound: ½ Σ [ln(Var μ + E σ²) − E ln σ²]; "
    "free bits, offsets and rescaling cannot fake it",
    "end information": "→ 0",
    "measure kl": "nats that the loss pays; never less than information",
    "end kl": "→ 0, unless held up",
    "measure mismatch": "KL minus information: paid and carrying nothing",
    "end mismatch": "high with free bits",
    "measure growth": "where training pushes, a t value: above the upper limit the latent comes "
    "alive, below the lower it is being shrunk; near 0 once it is large",
    "end growth": "clearly negative",
    "measure active_units": "units whose mean varies over the data, Var μ > 0.01",
    "end active_units": "→ 0",
    "measure active_fraction": "the share of them",
    "end active_fraction": "→ 0",
    "measure informative_units": "units with Var μ above 5 % of Var μ + E σ²",
    "end informative_units": "→ 0",
    "measure passive_units": "units whose variance is within 0.1 of the prior's",
    "end passive_units": "→ all",
    "measure posterior_variance": "E σ²; mean, p10, p50 and p90 over units",
    "end posterior_variance": "→ 1, the prior's",
    "measure mean_variance": "Var μ; mean, p10, p50 and p90 over units",
    "end mean_variance": "→ 0",
    "measure within_batch_variance": "Var μ within batches, where it differs much",
    "end within_batch_variance": "→ 0",
    "measure mutual_information": "a lower bound of the information, from one batch, in nats",
    "end mutual_information": "0",
    "measure mutual_information_cap": "the most that this bound can say: ln of the batch size",
    "end mutual_information_cap": "",
    "measure decoder_gap": "how much worse the loss gets with another sample's z, from the decoder "
    "probe",
    "end decoder_gap": "→ 0 within three errors",
    "measure decoder_gap_error": "its standard error",
    "end decoder_gap_error": "",
    "measure beta": "the weight of the KL, where it was told",
    "end beta": "",
    "measure reconstruction_loss": "mean over the observed steps since the last check",
    "end reconstruction_loss": "stays or rises",
    "measure overhead_ms": "what watching took of the training thread, ms a step",
    "end overhead_ms": "says nothing",
    "measure overhead_share": "the same as a share of the step, 0 to 1",
    "end overhead_share": "says nothing",
    "measure samples": "samples behind the numbers",
    "end samples": "",
    "measure nonfinite": "elements that are NaN or infinite, left out",
    "end nonfinite": "",
    "measure clamped": "elements whose ln σ² was beyond ±30",
    "end clamped": "",
    "measure perplexity": "classes or codes that are used, exp of their entropy; of codes with the "
    "bias of few tokens removed",
    "end perplexity": "→ 1, of a codebook; of soft classes: all",
    "measure usage": "share of a codebook's codes that are used",
    "end usage": "→ 0",
    "measure dead_codes": "codes that were never picked, less those left out by chance",
    "end dead_codes": "→ all",
    "measure outside_codes": "indices that are no code: the codebook's size is wrong",
    "end outside_codes": "0",
    "setting kl_threshold": "nats; less KL is an indicator",
    "setting var_threshold": "a mean variance this near to 1 is an indicator",
    "setting active_units_threshold": "a smaller share of active units is an indicator",
    "setting information_limit": "nats; less information is little ...",
    "setting information_per_dimension": "... or less than this times the latent's dimensions",
    "setting growth_limit": "below minus this: being shrunk; above it: coming alive",
    "setting confirm_checks": "checks in a row that confirm red",
    "setting recovery_checks": "better checks in a row before a level is left",
    "setting skip_checks": "first checks that raise nothing",
    "setting check_frequency": "steps from one check to the next",
    "setting window_size": "steps over which the loss's trend is read",
    "setting early_stop_patience": "red checks before a run may be stopped",
    "setting ignore": "indicators that are never raised",
    "setting optional": "latents that the run's level ignores",
    "setting literal": "judge as the manual's code did",
    "setting language": "of alerts and of this text",
}
