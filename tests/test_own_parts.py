"""The pages on a part of one's own: every block runs, also by configuration."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from collapse_logging import CollapseMonitor, Family
from collapse_logging.families import Categorical
from collapse_logging.family_statistics import FamilyStatistics
from collapse_logging.measures import information, mean_variance, scalars
from collapse_logging.taken import take

from .parts import recorded, warnings_in

PAGES = sorted((Path(__file__).parent.parent / "docs" / "own").glob("*.md"))
MODULES = {"family": ["von_mises", "", "angles"]}
"""Under which name a page's Python blocks are kept; "" is run, by default the second one."""


def blocks(page):
    """Language and body of each block."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty one, from which modules are imported, and forgotten after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's, of few workers and the like
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_page_runs(page, folder):
    """Its file, its use in a plain loop, and its use through class_path."""
    pytest.importorskip("jsonargparse", reason="training by configuration needs jsonargparse")
    from collapse_logging.cli import main

    found = blocks(page)
    python = [body for language, body in found if language == "python"]
    (file,) = re.findall(r"The file, `(\w+)\.py`", page.read_text(encoding="utf-8"))
    for name, body in zip(MODULES.get(page.stem, [file, ""]), python, strict=True):
        if name:
            (folder / f"{name}.py").write_text(body)
        else:
            exec(compile(body, str(page), "exec"), {"__name__": "__main__"})
    ((_, config),) = [block for block in found if block[0] == "yaml"]
    (folder / "own.yaml").write_text(config)
    assert main(["fit", "--config", "own.yaml"]) == 0
    check_of[page.stem](folder)


def last_report(folder):
    """The last report in the ledger of the training by configuration."""
    (ledger,) = folder.glob("runs/**/collapse_ledger.jsonl")
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    return [line for line in lines if "latents" in line][-1]


def _measure(folder):
    measures = last_report(folder)["latents"]["vae.encoder"]["measures"]
    assert {"effective_units", "units_above_0.5"} <= measures.keys()
    (csv,) = folder.glob("runs/**/metrics.csv")
    assert "collapse/vae.encoder/effective_units" in csv.read_text()


def _family(folder):
    latent = last_report(folder)["latents"]["encoder"]
    assert {"information", "kl", "resultant", "growth"} <= latent["measures"].keys()
    assert len(latent["per_unit"]["information"]) == 2


def _writer(folder):
    assert "| vae.encoder | OK |" in (folder / "levels.md").read_text()


def _response(folder):
    assert "vae.encoder" in (folder / "beta.txt").read_text()


check_of = {"measure": _measure, "family": _family, "writer": _writer, "response": _response}


FAMILIES = [body for _, body in blocks(PAGES[0].parent.parent / "families.md")]


@pytest.mark.parametrize("block", FAMILIES, ids=range(len(FAMILIES)))
def test_each_block_of_the_page_on_families_runs(block, folder):
    """As it stands, in an empty folder."""
    exec(compile(block, "docs/families.md", "exec"), {"__name__": "__main__"})


# --- measures ---


def per_unit_square(window):
    """One a unit."""
    return information(window) ** 2


def root(window):
    """Of what every kind of latent has."""
    return information(window) ** 0.5


def test_a_measure_reads_every_kind_of_latent():
    """The functions of ``measures`` give what a family has, and say what it has not."""
    monitor, memory = recorded(check_frequency=1, observe_every=1, measures=[root])
    step(monitor)
    for latent in memory.reports[0].latents.values():
        expected = latent.per_unit["information"] ** 0.5
        assert latent.per_unit["root"].tolist() == expected.tolist()
    statistics = FamilyStatistics.of(Categorical(torch.randn(64, 4)))
    statistics.update(Categorical(torch.randn(64, 4)))
    read = take(statistics).read
    with pytest.raises(KeyError, match="a Categorical has no mean_variance, only .*perplexity"):
        mean_variance(read)
    with pytest.raises(TypeError, match="its measures are in its values"):
        scalars(read)


def nothing(window):
    """None where there is none."""


def broken(window):
    """A mistake of the user's."""
    raise ZeroDivisionError("mine")


def step(monitor):
    """One step of a Gaussian and a categorical latent."""
    monitor.observe("z", torch.randn(64, 3), torch.zeros(64, 3))
    monitor.observe("c", Categorical(torch.randn(64, 4)))
    return monitor.step()


def test_a_measure_is_shown_as_a_number_and_by_unit():
    """Its mean and its vector; None is absent."""
    monitor, memory = recorded(
        check_frequency=1, observe_every=1, measures=[per_unit_square, nothing], strict=False
    )
    step(monitor)
    latent = memory.reports[0].latents["z"]
    expected = latent.per_unit["information"] ** 2
    assert latent.per_unit["per_unit_square"].tolist() == expected.tolist()
    assert latent.measures["per_unit_square"] == pytest.approx(expected.mean())
    assert "nothing" not in latent.measures


def test_a_measure_that_fails_is_told_once_and_ends_nothing(caplog):
    """All else goes on; strict raises it."""
    monitor, memory = recorded(check_frequency=1, observe_every=1, measures=[broken], strict=False)
    for _ in range(3):
        step(monitor)
    assert [text[:40] for text in warnings_in(caplog)] == [
        "measure 'broken' of latent 'z' failed an",
        "measure 'broken' of latent 'c' failed an",
    ]
    assert memory.reports[2].latents["z"].measures["information"] > 0
    strict, _ = recorded(check_frequency=1, observe_every=1, measures=[broken])
    with pytest.raises(ZeroDivisionError):
        step(strict)


def wrong_shape(window):
    """Of more units than there are."""
    return [1.0] * 9


def test_a_vector_of_another_length_is_refused():
    """With what was expected."""
    monitor, _ = recorded(check_frequency=1, observe_every=1, measures=[wrong_shape])
    with pytest.raises(ValueError, match=r"measure 'wrong_shape': expected .* \[3\], got \[9\]"):
        step(monitor)


def kl(window):
    """A name that is taken."""


@pytest.mark.parametrize(
    ("measures", "error", "words"),
    [
        ([kl], ValueError, "expected a name of its own, got 'kl', which is taken"),
        ([nothing, nothing], ValueError, "got 'nothing', which is taken"),
        ([lambda window: 1.0], TypeError, "a function with a name"),
        (["kl"], TypeError, "str does not belong"),
        (nothing, TypeError, r"expected a list.*write \[...\]"),
    ],
)
def test_what_is_no_measure_is_refused_at_once(measures, error, words):
    """By the monitor and by the callback, before any training."""
    from collapse_logging import PosteriorCollapseDetector

    for make in (CollapseMonitor, PosteriorCollapseDetector):
        with pytest.raises(error, match=words):
            make(measures=measures)


# --- families ---


@dataclass(frozen=True, eq=False)
class Broken(Family):
    """One whose measures fail, or lack what is needed."""

    tensor: torch.Tensor

    def total(self, mask):
        """Of itself."""
        return self.summed(self.tensor.unsqueeze(0), mask)

    @classmethod
    def measures(cls, mean, count):
        """Without information."""
        return {"kl": mean[0]}


def test_a_batch_is_summed_once_and_asked_for_its_form_once(monkeypatch):
    """However often it is needed: each time would be kernels at every observed step."""
    rows, total = [], Broken.total
    monkeypatch.setattr(Broken, "total", lambda b, m: rows.append(len(b.tensor)) or total(b, m))
    monitor, _ = recorded(check_frequency=10, observe_every=1)
    for _ in range(3):
        rows.clear()
        monitor.observe("own", Broken(torch.zeros(8, 2)))
        step(monitor)
        assert rows == [0, 8]


class Slanted(Broken):
    """One that gives other shapes."""

    @classmethod
    def measures(cls, mean, count):
        """Of all units together."""
        return {"information": mean.sum()}


@pytest.mark.parametrize(
    ("family", "words"),
    [(Broken, "expected 'information' in nats"), (Slanted, r"measure 'information': expected")],
)
def test_a_family_that_fails_is_told_once_and_ends_nothing(family, words, caplog):
    """The other latents are still there; strict raises it."""
    monitor, memory = recorded(check_frequency=1, observe_every=1, strict=False)
    for _ in range(3):
        monitor.observe("own", family(torch.zeros(8, 2)))
        step(monitor)
    assert list(memory.reports[2].latents) == ["z", "c"]
    (told,) = warnings_in(caplog)
    assert told.startswith("latent 'own' is left out: the measures of its family")
    strict, _ = recorded(check_frequency=1, observe_every=1)
    strict.observe("own", family(torch.zeros(8, 2)))
    with pytest.raises(ValueError, match=words):
        strict.step()
