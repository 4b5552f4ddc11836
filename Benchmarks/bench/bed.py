"""A place to measure in: a harness `Test` that is swept up whatever happens, also when interrupted."""

import contextlib
import shutil
import signal

from . import ROOT  # finds the harness  # noqa: F401
from harness import Failed, Skipped, Test
from harness.test import interrupted

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@contextlib.contextmanager
def bed():
    """Yields a `Test`; afterwards no process, socket, interface or file of it is left."""
    before = {number: signal.signal(number, interrupted) for number in SIGNALS}
    test = Test()
    troubles = []
    try:
        yield test
    except Skipped:
        raise
    except Exception:
        test.show_logs()
        raise
    finally:
        # A second signal must not interrupt the sweeping.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        troubles = test.tear_down(hasty=False)
        shutil.rmtree(test.directory, ignore_errors=True)
        for number, handler in before.items():
            signal.signal(number, handler)
    if troubles:
        raise Failed("not swept clean: " + "; ".join(troubles))
