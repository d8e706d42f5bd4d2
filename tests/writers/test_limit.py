"""How often people are disturbed, with a clock that the test turns."""

from __future__ import annotations

from itertools import pairwise

import pytest

from collapse_logging import Alert, Level
from collapse_logging.writers.limit import AlertLimit, Message

OK, YELLOW, ORANGE, RED = Level


class Service:
    """Takes messages, or fails when it is down; its clock stands until it is turned."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.seconds = 0.0
        self.down = False
        self.limit = AlertLimit(self.take, lambda: self.seconds)

    def take(self, message: Message) -> None:
        """Keep a message."""
        if self.down:
            raise OSError("no network")
        self.got.append(message)

    def tell(self, *levels: Level, latent: str = "z", seconds: float = 1.0) -> None:
        """A check for each change of level on the way."""
        for previous, level in pairwise(levels):
            self.seconds += seconds
            step = int(100 * self.seconds)
            self.limit.send([Alert(step, latent, previous, level)])

    @property
    def severities(self) -> list[str]:
        """Of the messages so far."""
        return [message.severity for message in self.got]


@pytest.fixture
def service() -> Service:
    """Nothing told yet."""
    return Service()


def test_a_fast_collapse_is_a_message_a_change(service: Service) -> None:
    """Yellow, orange and red within three seconds are three messages, at once."""
    service.tell(OK, YELLOW, ORANGE, RED)
    assert service.severities == ["INFO", "WARN", "ERROR"]
    assert all(" (+" not in message.title for message in service.got)


def test_what_is_not_worse_waits_for_its_minute(service: Service) -> None:
    """A recovery within the minute is held back, and sent at the first check after it."""
    service.tell(OK, YELLOW, OK)
    assert len(service.got) == 1
    service.seconds = 60.0
    service.limit.send()
    assert len(service.got) == 1
    service.seconds = 61.0
    service.limit.send()
    assert [message.title for message in service.got] == [
        "watch: z OK -> YELLOW",
        "recovery: z YELLOW -> OK",
    ]


def test_what_was_held_back_comes_in_one_message(service: Service) -> None:
    """Three latents within a minute are two messages; the second tells both changes in full."""
    service.tell(OK, YELLOW, latent="a")
    service.tell(OK, YELLOW, latent="b")
    service.tell(OK, YELLOW, latent="c")
    service.limit.send(now=True)
    (_, merged) = service.got
    assert merged.title == "watch: c OK -> YELLOW (+1 more)"
    assert "Step 200: watch: b OK -> YELLOW" in merged.text
    assert "Step 300: watch: c OK -> YELLOW" in merged.text
    assert merged.step == 300


def test_a_red_never_waits_and_takes_the_held_along(service: Service) -> None:
    """The second red of a minute is told at once, with the recovery before it."""
    service.tell(OK, RED, OK, RED)
    assert service.severities == ["ERROR", "ERROR"]
    assert service.got[1].title == "posterior collapse: z OK -> RED (+1 more)"
    assert "recovery: z RED -> OK" in service.got[1].text


@pytest.mark.parametrize("worse", [YELLOW, ORANGE, RED])
@pytest.mark.parametrize("seconds", [0.1, 30.0, 120.0])
def test_a_hundred_alternations(service: Service, worse: Level, seconds: float) -> None:
    """At most twenty messages, and exactly one that says that there are no more."""
    service.tell(*[OK, worse] * 51, seconds=seconds)
    service.limit.send(now=True)
    said = [message for message in service.got if "further alerts suppressed" in message.text]
    assert len(service.got) - len(said) <= 20
    assert len(said) <= 1
    if worse is RED or seconds > 60:
        assert len(said) == 1


def test_nothing_is_lost_below_the_cap(service: Service) -> None:
    """However fast levels change, each change is in exactly one message."""
    service.tell(OK, YELLOW, ORANGE, YELLOW, ORANGE, OK, RED, ORANGE, RED, OK)
    service.limit.send(now=True)
    texts = "\n".join(message.text for message in service.got)
    for step in range(100, 1000, 100):
        assert texts.count(f"Step {step}:") == 1


def test_yellow_leaves_room_for_red(service: Service) -> None:
    """After hours of yellow a collapse is still told, and so are four more."""
    service.tell(*[OK, YELLOW] * 50, seconds=100.0)
    before = len(service.got)
    service.tell(*[OK, RED] * 50, seconds=100.0)
    assert before == 16
    assert service.severities[before:] == ["ERROR"] * 5


def test_after_a_failure_an_alert_comes_once(service: Service) -> None:
    """What could not be delivered is sent with the next, even if the caller hands it in again."""
    service.down = True
    alert = Alert(1, "z", OK, YELLOW)
    with pytest.raises(OSError, match="no network"):
        service.limit.send([alert])
    service.down = False
    service.limit.send([alert])
    service.limit.send()
    (message,) = service.got
    assert message.title == "watch: z OK -> YELLOW"


@pytest.mark.parametrize("level", [OK, YELLOW, ORANGE])
def test_getting_better_is_information(service: Service, level: Level) -> None:
    """A fall from red is INFO, wherever it ends."""
    service.tell(RED, level)
    assert service.severities == ["INFO"]


def test_an_explosion_is_a_warning_whatever_the_level(service: Service) -> None:
    """It leaves the level alone, so the level says nothing about it."""
    service.limit.send([Alert(1, "z", OK, OK, kind="explosion")])
    assert service.severities == ["WARN"]


def test_titles_are_short_and_texts_bounded(service: Service) -> None:
    """A title has fewer than 64 characters and names how many more; ten texts are in full."""
    alerts = [Alert(step, "z" * 99, OK, RED) for step in range(30)]
    service.limit.send(alerts)
    (message,) = service.got
    assert len(message.title) < 64
    assert message.title.endswith(" (+29 more)")
    assert message.text.startswith("20 earlier changes are left out.")
    assert message.text.count("Step ") == 10


@pytest.mark.parametrize("name", ["<!channel>", "@here", "![x](http://a.b/c.png)", "a\n\x1b[31mb"])
def test_a_name_wakes_nobody_and_links_nowhere(service: Service, name: str) -> None:
    """Mentions, links, pictures and control characters are taken out of a latent's name."""
    service.tell(OK, RED, latent=name)
    (message,) = service.got
    for text in (message.title, message.text):
        assert not [c for c in ("<", "@", "[", "]", "://", "\x1b") if c in text]
    assert "\n" not in message.title
