"""SIGTERM within ``with CollapseMonitor(...)``; how such a process ends is in test_crashes."""

import os
import signal
import threading

import pytest

from collapse_logging import CollapseMonitor
from collapse_logging.termination import Termination


@pytest.fixture(autouse=True)
def default_handler():
    """Each test begins with nobody handling SIGTERM, and leaves what was there."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def handler():
    """Who handles SIGTERM now."""
    return signal.getsignal(signal.SIGTERM)


def test_it_is_an_exit_within_the_block_alone():
    """143, as a shell calls a process that SIGTERM ended; afterwards the default is back."""

    def run():
        with CollapseMonitor(verbose=False):
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(10)

    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 143
    assert handler() is signal.SIG_DFL


def test_the_users_own_handler_stays():
    """Before the block and within it: theirs is called, and still there afterwards."""
    got = []

    def theirs(*signal_and_frame):
        got.append(signal_and_frame)

    signal.signal(signal.SIGTERM, theirs)
    with CollapseMonitor(verbose=False):
        os.kill(os.getpid(), signal.SIGTERM)
    assert handler() is theirs
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with CollapseMonitor(verbose=False):
        signal.signal(signal.SIGTERM, theirs)
    assert handler() is theirs
    assert len(got) == 1


def test_who_ignores_it_goes_on_ignoring_it():
    """SIG_IGN is a decision, too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with CollapseMonitor(verbose=False):
        os.kill(os.getpid(), signal.SIGTERM)
    assert handler() is signal.SIG_IGN


def test_two_monitors_in_one_loop():
    """The outer one listens for both."""
    with CollapseMonitor(verbose=False):
        outer = handler()
        with CollapseMonitor(verbose=False):
            assert handler() == outer
        assert handler() == outer
    assert handler() is signal.SIG_DFL


def test_a_thread_sets_no_handler():
    """It may not; the monitor works there all the same."""
    seen = []

    def run():
        with CollapseMonitor(verbose=False):
            seen.append(handler())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def test_a_monitor_without_with_sets_none():
    """Nobody has promised to close it."""
    monitor = CollapseMonitor(verbose=False)
    assert handler() is signal.SIG_DFL
    monitor.close()


def test_a_second_one_ends_at_once():
    """Whoever is impatient is not kept waiting by what is being closed."""
    listening = Termination()
    listening.listen()
    with pytest.raises(SystemExit):
        handler()(signal.SIGTERM, None)
    assert handler() is signal.SIG_DFL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*")
def test_a_forked_child_ends_as_ever():
    """It must not unwind the training's blocks: it dies of the signal."""
    with CollapseMonitor(verbose=False):
        child = os.fork()
        if child == 0:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                threading.Event().wait(10)
            finally:
                os._exit(7)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM
