"""``collapse-logging wandb-view``: the workspace as JSON, and saved on a server of this machine."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from collapse_logging.cli import main
from collapse_logging.commands.wandb_view import workspace
from collapse_logging.writers import MemoryWriter
from tests.writers.conftest import drive
from tests.writers.wandb_server import serving

pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")


def panels(view: dict[str, Any]) -> list[dict[str, Any]]:
    """The charts' settings in the first section."""
    section = view["spec"]["section"]["panelBankConfig"]["sections"][0]
    assert section["name"] == "Posterior collapse"
    assert section["pinned"]
    assert section["isOpen"]
    return [panel["config"] for panel in section["panels"]]


def test_a_dry_run_prints_the_workspace(capsys: pytest.CaptureFixture[str]) -> None:
    """Without account or network: the section, its step axis, and the verdict as a column."""
    assert main(["wandb-view", "team/vae", "--dry-run"]) == 0
    view = json.loads(capsys.readouterr().out)
    assert (view["entity"], view["project"]) == ("team", "vae")
    assert {panel["xAxis"] for panel in panels(view)} == {"collapse/step"}
    assert "summary:collapse/verdict" in json.dumps(view)
    assert view["spec"]["section"]["settings"]["shouldAutoGeneratePanels"] is True


def test_its_charts_find_what_a_run_logs(capsys: pytest.CaptureFixture[str]) -> None:
    """Each scalar that a chart is for is matched by exactly one chart, whatever the latent."""
    assert main(["wandb-view", "team/vae", "--dry-run"]) == 0
    patterns = [panel["metricRegex"] for panel in panels(json.loads(capsys.readouterr().out))]
    memory = MemoryWriter()
    drive([memory], checks=2)
    tags = [tag for tag in memory.reports[-1].scalars() if tag != "collapse/z/posterior_variance"]
    for tag in (*tags, "collapse/encoder.top/level"):
        assert sum(bool(re.search(pattern, tag)) for pattern in patterns) <= 1, tag
    for tag in ("collapse/level", "collapse/z/level", "collapse/z/information", "collapse/z/kl"):
        assert sum(bool(re.search(pattern, tag)) for pattern in patterns) == 1, tag


def test_another_axis_and_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    """Lightning's axis is given by hand; a prefix with a dot matches itself alone."""
    options = ["--x-axis", "trainer/global_step", "--prefix", "a.b", "--dry-run"]
    assert main(["wandb-view", "team/vae", *options]) == 0
    found = panels(json.loads(capsys.readouterr().out))
    assert {panel["xAxis"] for panel in found} == {"trainer/global_step"}
    assert not any(re.search(panel["metricRegex"], "a-b/level") for panel in found)


def test_it_is_saved_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --dry-run one view arrives, the same as printed, and its address is said."""
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        assert main(["wandb-view", "team/vae"]) == 0
    (view,) = [values for name, values in server.calls if name == "UpsertView2"]
    assert (view["entityName"], view["projectName"]) == ("team", "vae")
    found = panels({"spec": json.loads(view["spec"])})
    expected = workspace("team", "vae").sections[0].panels
    assert [panel["chartTitle"] for panel in found] == [panel.title for panel in expected]
    assert "/team/vae" in capsys.readouterr().out


def test_a_server_that_refuses_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback: what W&B said, and to log in."""
    with serving() as server:
        server.refuse = lambda operation: 403 if operation == "UpsertView2" else 200
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        assert main(["wandb-view", "team/vae"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "wandb login" in line


@pytest.mark.parametrize("project", ["vae", "/vae", "team/", "a/b/c"])
def test_a_project_needs_its_entity(project: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The error shows the form."""
    assert main(["wandb-view", project, "--dry-run"]) == 2
    assert "ENTITY/PROJECT, e.g. my-team/vae" in capsys.readouterr().err
