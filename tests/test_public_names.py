"""What users can import is exactly what is promised, and all of it explains itself."""

import inspect
import subprocess
import sys

import pytest

import collapse_logging
from collapse_logging import families, writers

PACKAGE_NAMES = {
    "Alert",
    "Codebook",
    "CollapseMonitor",
    "Family",
    "Indicator",
    "LatentReport",
    "Level",
    "PosteriorCollapseDetector",
    "Report",
    "Rules",
    "Statistics",
}
WRITER_NAMES = {
    "DetectionLogWriter",
    "LedgerWriter",
    "LogWriter",
    "LoggerWriter",
    "MemoryWriter",
    "MlflowWriter",
    "TensorBoardWriter",
    "TrackioWriter",
    "WandbWriter",
    "Writer",
    "complete",
}
FAMILY_NAMES = {"Bernoulli", "Categorical", "Codebook", "Family", "family_of"}
PUBLIC = [(collapse_logging, name) for name in sorted(PACKAGE_NAMES)]
PUBLIC += [(writers, name) for name in sorted(WRITER_NAMES)]
PUBLIC += [(families, name) for name in sorted(FAMILY_NAMES - PACKAGE_NAMES)]


def test_the_public_names_are_the_promised_ones():
    """A name that comes or goes is a decision, taken here as well."""
    assert set(collapse_logging.__all__) == PACKAGE_NAMES
    assert set(writers.__all__) == WRITER_NAMES
    assert set(families.__all__) == FAMILY_NAMES
    assert dir(collapse_logging) == sorted(collapse_logging.__all__)


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=[name for _, name in PUBLIC])
def test_every_public_name_resolves_and_is_documented(module, name):
    """It can be got from its module, has a docstring of its own, and so have its public parts."""
    value = getattr(module, name)
    assert inspect.getdoc(value)
    if not inspect.isclass(value):
        return
    assert value.__dict__["__doc__"]
    for part, member in vars(value).items():
        if not part.startswith("_") and callable(getattr(member, "fget", member)):
            assert getattr(member, "__doc__", None), f"{name}.{part} has no docstring"


def test_a_name_that_is_not_there_is_an_attribute_error():
    """The lazy detector does not make other names appear, and star imports work."""
    with pytest.raises(AttributeError, match="has no attribute 'Detector'"):
        collapse_logging.Detector  # noqa: B018 - the access is the test
    names = {}
    exec("from collapse_logging import *", names)
    assert names.keys() >= PACKAGE_NAMES


def test_the_detector_is_loaded_when_it_is_asked_for():
    """``collapse_logging.PosteriorCollapseDetector`` imports Lightning, the package does not."""
    code = (
        "import sys, collapse_logging as c; before = 'collapse_logging.lightning' in sys.modules; "
        "print(before, c.PosteriorCollapseDetector.__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == ["False", "collapse_logging.lightning"]


def test_the_version_is_one():
    """The package's version is that of its distribution."""
    from importlib.metadata import version

    assert collapse_logging.__version__ == version("collapse-logging")


@pytest.mark.parametrize("package", ["writers", "families"])
def test_what_is_imported_on_demand_is_listed(package):
    """``dir``, by which an editor and a shell complete, has all names in a fresh interpreter."""
    code = f"import collapse_logging.{package} as p; assert dir(p) == sorted(p.__all__), dir(p)"
    code += "; [getattr(p, name) for name in dir(p)]"
    subprocess.run([sys.executable, "-c", code], check=True)
