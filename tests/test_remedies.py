"""Responses by level, and remedies that set a number of the model."""

import json
import logging
import pickle
import types

import pytest
import torch
from torch import nn

from collapse_logging import CollapseMonitor, Level
from collapse_logging.alert_parts import Action
from collapse_logging.reading.ledger import read_ledger
from collapse_logging.remedies import LowerBeta, RaiseFreeBits, RestartWarmUp
from collapse_logging.report import Alert
from collapse_logging.responses import KeepLastHealthy
from collapse_logging.writers import MemoryWriter, TensorBoardWriter
from collapse_logging.writers.ledger import LEDGER_NAME

from .lightning.readers import events
from .parts import healthy_then_collapsing, recorded, warnings_in

YELLOW, ORANGE, RED = Level.YELLOW, Level.ORANGE, Level.RED


def settings_of_a_model(**values):
    """An object with numbers."""
    return types.SimpleNamespace(**{"beta": 1.0, "free_bits": 0.0, "warm_up_began": 0, **values})


def alert(level=ORANGE, previous=Level.OK, step=40, **changes):
    """An alert of a latent."""
    return Alert(step, "z", previous, level, **changes)


def collapse(monitor):
    """A latent that lives for a while, then collapses."""
    healthy_then_collapsing(monitor, 10, 40)


def test_each_level_is_answered_once_when_it_is_reached():
    """Yellow and red of a collapse go to their own callables, each with its alert."""
    got = {"yellow": [], "orange": [], "red": []}
    monitor, memory = recorded(
        check_frequency=2,
        on_yellow=got["yellow"].append,
        on_orange=got["orange"].append,
        on_red=got["red"].append,
    )
    collapse(monitor)
    for name, alerts in got.items():
        level = Level[name.upper()]
        assert alerts == [a for a in memory.alerts if a.level is level and a.level > a.previous]
    assert len(got["yellow"]) == len(got["red"]) == 1


@pytest.mark.parametrize(
    ("level", "previous", "kind", "name"),
    [
        (YELLOW, Level.OK, "collapse", "on_yellow"),
        (ORANGE, YELLOW, "collapse", "on_orange"),
        (RED, Level.OK, "collapse", "on_red"),
        (ORANGE, RED, "collapse", None),
        (YELLOW, ORANGE, "collapse", None),
        (Level.OK, RED, "collapse", None),
        (RED, RED, "explosion", None),
    ],
)
def test_only_what_gets_worse_is_answered(level, previous, kind, name):
    """A level that is reached from above is an improvement, and an explosion has no level."""
    from collapse_logging.by_level import answers, checked_by_level

    got = []
    names = ("on_yellow", "on_orange", "on_red")
    for response in answers([], checked_by_level(*(lambda a, n=n: got.append(n) for n in names))):
        response(alert(level, previous, kind=kind))
    assert got == ([] if name is None else [name])


@pytest.mark.parametrize(
    ("remedy", "name", "before", "after"),
    [
        (LowerBeta, "beta", 1.0, 0.5),
        (lambda of: LowerBeta("beta", factor=0.1, least=0.2, of=of), "beta", 1.0, 0.2),
        (RaiseFreeBits, "free_bits", 0.0, 0.1),
        (lambda of: RaiseFreeBits(by=3.0, most=2.0, of=of), "free_bits", 0.0, 2.0),
        (lambda of: RestartWarmUp("warm_up_began", of=of), "warm_up_began", 0, 40),
        (lambda of: RestartWarmUp("counter", to=0, of=of), "counter", 70, 0),
    ],
)
def test_what_a_remedy_sets(remedy, name, before, after):
    """The number that it says, and no other."""
    model = settings_of_a_model(counter=70)
    made = remedy(of=model)
    others = {key: value for key, value in vars(model).items() if key != name}
    assert made.plan(alert()) == Action(name, before, after)
    assert getattr(model, name) == before  # a plan alone does nothing
    made(alert())
    assert getattr(model, name) == after
    assert {key: value for key, value in vars(model).items() if key != name} == others


def test_a_limit_is_no_way_back():
    """A beta below the least and free bits above the most are left alone."""
    model = settings_of_a_model(beta=0.1, free_bits=3.0)
    for remedy in (LowerBeta(least=0.2, of=model), RaiseFreeBits(most=1.0, of=model)):
        assert remedy.plan(alert()) is None
        remedy(alert())
    assert (model.beta, model.free_bits) == (0.1, 3.0)


def test_a_remedy_acts_at_orange_and_red_once_a_check():
    """Not at yellow, nor on the way down; two latents that collapse at once lower beta once."""
    model = settings_of_a_model()
    remedy = LowerBeta(of=model)
    for one in (alert(YELLOW), alert(ORANGE, RED), alert(Level.OK, RED)):
        remedy(one)
    assert model.beta == 1.0
    remedy(alert(RED))
    remedy(alert(RED))
    assert model.beta == 0.5
    remedy(alert(RED, ORANGE, step=60))
    assert model.beta == 0.25


def test_a_remedy_at_a_level_acts_there_alone():
    """``on_yellow=LowerBeta(...)``: at yellow, and at red no more."""
    model = settings_of_a_model()
    monitor, memory = recorded(check_frequency=2, on_yellow=LowerBeta(of=model))
    collapse(monitor)
    assert [a.level for a in memory.alerts] == [YELLOW, RED]
    assert [a.actions for a in memory.alerts] == [(Action("beta", 1.0, 0.5),), ()]
    assert model.beta == 0.5


def test_what_was_done_is_told_everywhere(tmp_path, caplog):
    """In the alert, the log, the ledger, TensorBoard, the detection log, and read back."""
    model = settings_of_a_model()
    memory = MemoryWriter()
    with CollapseMonitor(
        [TensorBoardWriter(tmp_path), memory],
        [LowerBeta("beta", factor=0.25, of=model)],
        check_frequency=2,
        strict=True,
    ) as monitor:
        collapse(monitor)
    said = "done about it: beta is set from 1 to 0.25"
    assert memory.alerts[-1].actions == (Action("beta", 1.0, 0.25),)
    assert said in memory.alerts[-1].text
    assert any(said in message for message in warnings_in(caplog))
    lines = [json.loads(line) for line in (tmp_path / LEDGER_NAME).read_text().splitlines()]
    kept = [a for line in lines[1:] for a in line["alerts"]]
    assert kept[-1]["actions"] == [{"attribute": "beta", "before": 1.0, "after": 0.25}]
    text = events(tmp_path).Tensors("collapse/alerts/text_summary")[-1]
    assert said in text.tensor_proto.string_val[0].decode()
    (log,) = tmp_path.glob("collapse_detection_*.log")
    assert f"  - {said}\n" in log.read_text()
    recording = read_ledger(tmp_path / LEDGER_NAME)
    assert recording.alerts[-1] == memory.alerts[-1]


def test_an_optional_latent_is_not_answered():
    """Its alert names no action, and nothing is set."""
    model = settings_of_a_model()
    got = []
    monitor, memory = recorded(
        check_frequency=2, responses=[LowerBeta(of=model)], optional=["z"], on_red=got.append
    )
    collapse(monitor)
    assert memory.alerts[-1].level is RED
    assert all(a.actions == () for a in memory.alerts)
    assert (model.beta, got) == (1.0, [])


def test_a_resumed_run_goes_on_with_the_number_that_was_set():
    """Also where the model does not keep it in its own state, under whichever argument."""
    for how in ("responses", "on_red"):
        model, again = settings_of_a_model(), settings_of_a_model()
        first, second = LowerBeta(of=model), LowerBeta(of=again)
        given = {"responses": [first]} if how == "responses" else {how: first}
        monitor, _ = recorded(check_frequency=2, **given)
        collapse(monitor)
        given = {"responses": [second]} if how == "responses" else {how: second}
        resumed, _ = recorded(check_frequency=2, **given)
        assert again.beta == 1.0
        resumed.load_state_dict(monitor.state_dict())
        assert again.beta == model.beta == 0.5


def test_a_state_of_one_that_never_acted_sets_nothing():
    """What the user has set for the resumed run holds."""
    monitor, _ = recorded(check_frequency=2, responses=[LowerBeta(of=settings_of_a_model())])
    model = settings_of_a_model(beta=7.0)
    resumed, _ = recorded(check_frequency=2, responses=[LowerBeta(of=model)])
    resumed.load_state_dict(monitor.state_dict())
    assert model.beta == 7.0


class Part(nn.Module):
    """Has a number."""

    def __init__(self):
        super().__init__()
        self.scale = 4


class Model(nn.Module):
    """Has its beta in a buffer, and in a part of it a number."""

    def __init__(self):
        super().__init__()
        self.register_buffer("beta", torch.tensor(1.0))
        self.linear = nn.Linear(2, 2)
        self.part = Part()
        self.on = True

    @property
    def fixed(self):
        return 1.0


def test_a_buffer_stays_a_buffer():
    """It is filled in place, so that it is saved with the model; a part's number is reached."""
    model = Model()
    buffer = model.beta
    LowerBeta(of=model)(alert())
    LowerBeta("part.scale", of=model)(alert())
    assert model.beta is buffer
    assert model.state_dict()["beta"].item() == 0.5
    assert model.part.scale == 2.0


@pytest.mark.parametrize("name", ["betta", "part.beta", "gone.beta", "on", "part", "fixed"])
def test_what_is_no_number_is_told_with_those_that_are(name):
    """A name that is not there, a switch, a module, a property without a setter."""
    with pytest.raises(ValueError, match=r"expected the dotted name of a number of Model") as told:
        LowerBeta(name, of=Model())
    assert "There are ['beta', 'part.scale']." in str(told.value)
    assert ("Did you mean 'beta'?" in str(told.value)) == (name in ("betta", "gone.beta"))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: LowerBeta(3), TypeError, "LowerBeta: expected an attribute's name"),
        (lambda: LowerBeta("a..b"), TypeError, "LowerBeta: expected an attribute's name"),
        (lambda: LowerBeta(factor=1.5), ValueError, "factor: expected a number from 0 to 1"),
        (lambda: RaiseFreeBits(by=-1.0), ValueError, "RaiseFreeBits: by"),
        (lambda: RestartWarmUp("began", to="now"), TypeError, "RestartWarmUp: to"),
        (lambda: CollapseMonitor(responses=[LowerBeta()]), ValueError, "of=model"),
        (lambda: CollapseMonitor(on_red=LowerBeta()), ValueError, "of=model"),
        (lambda: CollapseMonitor(on_red=3), TypeError, "on_red: expected a function"),
        (lambda: CollapseMonitor(on_red=LowerBeta), TypeError, "on_red: expected a function"),
        (
            lambda: CollapseMonitor(on_red=KeepLastHealthy(print, "kept")),
            TypeError,
            r"KeepLastHealthy must see every check; write responses=\[\.\.\.\]",
        ),
    ],
)
def test_wrong_arguments_are_told_at_once(make, error, words):
    """Where the response or the monitor is made."""
    with pytest.raises(error, match=words):
        make()


def test_one_that_fails_does_not_stop_the_training(caplog):
    """A number that has gone meanwhile is told with the step, and the run goes on."""
    model = settings_of_a_model()
    monitor = CollapseMonitor(
        (), check_frequency=2, verbose=False, on_red=lambda alert: model.nothing
    )
    with caplog.at_level(logging.WARNING, "collapse_logging"):
        collapse(monitor)
    assert monitor.report.level is RED
    assert len(warnings_in(caplog)) == 1


def test_a_copy_does_not_hold_the_model():
    """A tuner pickles the callback: a model that was told by the callback is told again."""
    remedy = LowerBeta()
    remedy.bind(Model())
    assert not pickle.loads(pickle.dumps(remedy)).bound
    assert remedy.bound
