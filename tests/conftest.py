"""What every test needs, whoever started the suite."""

from __future__ import annotations

import signal

# A job that a script starts in the background, as some CI systems do, ignores Ctrl-C, and so would
# every process that the tests start in order to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
