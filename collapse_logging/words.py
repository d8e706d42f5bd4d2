"""The catalogue of words in English and Chinese: every text that people read, by key."""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping

from .arguments import require_one_of

EN: Mapping[str, str] = {
    "below": "below {:.3g}",
    "below nats": "below {:.3g} nats",
    "above": "above {:.3g}",
    "within of 1": "within {:.3g} of 1",
    "share below": "a share below {:.3g}",
    "share above": "a share above {:.3g}",
    "kl above nats": "a KL above {:.3g} nats",
    "gap below": "below {:.3g}, three standard errors",
    "information": "the latent carries almost nothing about the data",
    "growth": "training is pushing the posterior means together",
    "kl": "the posterior is almost the prior",
    "variance": "the posterior variance is almost the prior's",
    "active_units": "almost no unit's mean depends on the data",
    "mismatch": "the KL is paid but carries no information (free bits or an offset)",
    "decoder_ignores_latent": "the decoder does as well with another sample's z",
    "reconstruction_trend": "the reconstruction loss is rising",
    "explosion": "the posterior diverges from the prior or is not finite",
    "manual_variance": "as the manual had it: a small variance is a live unit",
    "manual_active_units": "as the manual had it: 1 in a collapse",
    "title watch": "watch",
    "title risk": "collapse risk",
    "title collapse": "posterior collapse",
    "title recovery": "recovery",
    "title improving": "improving",
    "title explosion": "explosion",
    "optional": "optional",
    "step": "Step {step}: {title}",
    "indicator": "{name} {value:.3g}, {relation}: {meaning}",
    "since": "since step {step}",
    "units": "units that carry nothing: {units} of {count}",
    "all units": "all {count} units carry nothing",
    "forecast": "forecast: below {limit:.3g} nats at step {step} (95 %: {low} to {high})",
    "forecast open": "forecast: below {limit:.3g} nats at step {step} (95 %: {low} or later)",
    "last healthy": "last healthy step: {step}",
    "never healthy": "none so far",
    "checkpoint": "last healthy checkpoint: {name}",
    "not probed": "not confirmed by a decoder probe",
    "what to do": "what to do: {advice}",
    "advise watch": "keep watching; nothing needs to be done yet",
    "advise stop": "stop and restart from before the collapse",
    "advise sum": "check that the reconstruction term is summed over pixels (or tokens), not "
    "averaged",
    "advise beta": "lower beta or warm it up more slowly",
    "advise beta back": "lower beta from {now:.3g} towards {then:.3g}, its value at the last "
    "healthy step",
    "advise decoder": "try free bits or a weaker decoder",
    "advise floor": "the KL is held up by free bits or an offset: weaken the decoder",
    "advise ignored": "weaken the decoder, or take away its other inputs: it does not need z",
    "advise explosion": "lower the learning rate, clip gradients or bound ln sigma^2",
    "verdict": "verdict at step {step}: {level} ({latents}); last healthy: {healthy}",
    "verdict step": "step {step}",
    "verdict never": "never",
}

ZH: Mapping[str, str] = {
    "below": "低于 {:.3g}",
    "below nats": "低于 {:.3g} nat",
    "above": "高于 {:.3g}",
    "within of 1": "与 1 相差不到 {:.3g}",
    "share below": "比例低于 {:.3g}",
    "share above": "比例高于 {:.3g}",
    "kl above nats": "KL 高于 {:.3g} nat",
    "gap below": "低于三倍标准误 {:.3g}",
    "information": "潜在变量几乎不携带数据的信息",
    "growth": "训练正在把后验均值压到一起",
    "kl": "后验几乎等于先验",
    "variance": "后验方差几乎等于先验方差",
    "active_units": "几乎没有单元的均值随数据变化",
    "mismatch": "付出了 KL 却没有携带信息(free bits 或偏移)",
    "decoder_ignores_latent": "换成别的样本的 z,解码器的结果一样好",
    "reconstruction_trend": "重构损失持续上升",
    "explosion": "后验偏离先验过远,或出现非有限值",
    "manual_variance": "按旧手册的规则:方差小其实说明单元是活跃的",
    "manual_active_units": "按旧手册的规则:塌缩时该值为 1",
    "title watch": "注意观察",
    "title risk": "塌缩风险",
    "title collapse": "后验塌缩",
    "title recovery": "已恢复",
    "title improving": "正在好转",
    "title explosion": "数值爆炸",
    "optional": "可选",
    "step": "步骤 {step}:{title}",
    "indicator": "{name} {value:.3g},{relation}:{meaning}",
    "since": "自步骤 {step} 起",
    "units": "不携带信息的单元:{units}(共 {count} 个)",
    "all units": "全部 {count} 个单元都不携带信息",
    "forecast": "预测:步骤 {step} 时低于 {limit:.3g} nat(95 %:{low} 至 {high})",
    "forecast open": "预测:步骤 {step} 时低于 {limit:.3g} nat(95 %:{low} 或更晚)",
    "last healthy": "最后一个健康的步骤:{step}",
    "never healthy": "至今没有",
    "checkpoint": "最后一个健康的检查点:{name}",
    "not probed": "未经解码器探测确认",
    "what to do": "处理建议:{advice}",
    "advise watch": "继续观察,暂不需要干预",
    "advise stop": "停止训练,从塌缩之前重新开始",
    "advise sum": "检查重构项是对像素(或词)求和,而不是取平均",
    "advise beta": "降低 beta,或让它预热得更慢",
    "advise beta back": "把 beta 从 {now:.3g} 降回 {then:.3g} 附近,即最后一个健康步骤时的值",
    "advise decoder": "尝试 free bits 或更弱的解码器",
    "advise floor": "KL 是被 free bits 或偏移撑住的:请削弱解码器",
    "advise ignored": "削弱解码器,或去掉它的其他输入:它不需要 z",
    "advise explosion": "降低学习率,裁剪梯度,或限制 ln sigma^2 的范围",
    "verdict": "步骤 {step} 的结论:{level}({latents});最后健康:{healthy}",
    "verdict step": "步骤 {step}",
    "verdict never": "从未",
}

LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": EN, "zh": ZH}


def word(language: str, key: str, **values: object) -> str:
    """A text of the catalogue with its values filled in."""
    return LANGUAGES[language][key].format(**values)


def default_language() -> str:
    """``"zh"`` where the environment's locale is Chinese, else ``"en"``."""
    names = [os.environ.get(n) for n in ("LC_ALL", "LC_MESSAGES", "LANG")]
    spoken = next((name for name in names if name), None) or locale.getlocale()[0] or ""
    return "zh" if spoken.lower().startswith(("zh", "chinese")) else "en"


def known_language(language: str | None) -> str:
    """The language itself, or the environment's for None.

    Raises:
        ValueError: there is no catalogue of it.
    """
    chosen = default_language() if language is None else language
    require_one_of("language", chosen, LANGUAGES)
    return chosen
