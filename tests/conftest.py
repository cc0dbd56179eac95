"""What every test needs, whoever started the suite and however busy its machine is."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# A job that a script starts in the background, as some CI systems do, ignores Ctrl-C, and so would
# every process that the tests start in order to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes, or is drawn, says how busy the machine is, not whether we are right.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
