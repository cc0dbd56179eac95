"""The devices of a search: whether their timings compare, and which device times an engine.

An engine is timed in the same rounds as the FP32 engine of the same device. Ratios of two devices
compare only if the devices are of one kind and the FP32 engine takes the same time on each while
all are at work. Otherwise engines are built and scored on every device and timed on the home
device, beside FP32 and the incumbent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from precsearch.core.backend import Fingerprint
from precsearch.core.errors import OptionError
from precsearch.core.trial import Latency
from precsearch.executors.client import MeasurementClient
from precsearch.executors.connect import connect
from precsearch.executors.protocol import Executor
from precsearch.measurement.service import MeasurementConfig

__all__ = ["Fleet", "assembled"]


@dataclass(frozen=True)
class Fleet:
    """Devices that measure one search.

    Attributes:
        clients: One for each device, the home device first.
        noise: Relative noise of latency while all devices are at work; the largest of all.
        comparable: Whether each device times the engines that it builds. If not, the home device
            times all of them.
        notes: What the user should know, a sentence each.
    """

    clients: tuple[MeasurementClient, ...]
    noise: float
    comparable: bool = True
    notes: tuple[str, ...] = ()

    @property
    def home(self) -> MeasurementClient:
        """The client of the home device."""
        return self.clients[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The devices, the home device first."""
        return tuple(c.device.name for c in self.clients)

    def times(self, client: MeasurementClient) -> bool:
        """Whether a device times the engines that it builds."""
        return self.comparable or client.device == self.home.device


@contextmanager
def assembled(
    executor: Executor,
    home: MeasurementClient,
    config: MeasurementConfig,
    where: Fingerprint,
    limit_s: float,
    *,
    noise: float = 0.0,
) -> Iterator[Fleet]:
    """Connect to the devices beside the home device, and compare all of them.

    Args:
        executor: Knows the devices.
        home: The client of the home device; it stays open.
        config: What all of them measure with.
        where: The home device's versions and device.
        limit_s: Seconds that a trial may take.
        noise: Relative noise of latency that an earlier run measured, which is kept; 0 if there
            is none.

    Raises:
        OptionError: A device is of another kind than the home device.
        EngineError: The FP32 engine fails on a device.
        WorkerError: A worker cannot be started, or died.
    """
    devices = executor.devices()
    if len(devices) == 1:
        yield Fleet((home,), config.noise)
        return
    with ExitStack() as stack:
        others = [stack.enter_context(connect(executor, d, config, limit_s)) for d in devices[1:]]
        for client in others:
            _check_kind(where, client.fingerprint(), home.device.name, client.device.name)
        clients = (home, *others)
        floors, latencies = _timed_together(clients)
        level = noise or max(config.noise, *floors)
        for client in clients:
            client.adopt(replace(config, noise=level))
        message = _apart(clients, latencies, level)
        yield Fleet(clients, level, not message, (message,) if message else ())


def _check_kind(home: Fingerprint, other: Fingerprint, at_home: str, there: str) -> None:
    """Refuse a device of another kind: its engines may have other kernels and other outputs."""
    if home == other:
        return
    for what, a, b in (
        ("is", home.device, other.device),
        ("has the versions", _listed(home.versions), _listed(other.versions)),
        ("has the features", " ".join(home.features), " ".join(other.features)),
    ):
        if a != b:
            raise OptionError(
                f"device {there} {what} {b}, and the home device {at_home} {what} {a}: engines of "
                "unequal devices do not compare; name devices of one kind"
            )


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _timed_together(
    clients: Sequence[MeasurementClient],
) -> tuple[list[float], list[Latency]]:
    """The noise floor of each device and its FP32 latency, measured on all at the same time."""
    with ThreadPoolExecutor(len(clients), thread_name_prefix="precsearch-device") as threads:
        floors = list(threads.map(lambda c: c.calibrate_noise(), clients))
    return floors, [c.fp32_latency() for c in clients]


def _apart(clients: Sequence[MeasurementClient], latencies: Sequence[Latency], noise: float) -> str:
    """How the FP32 engine's times differ between devices; "" if they agree within the noise."""
    seconds = [latency.seconds for latency in latencies]
    fast, slow = min(seconds), max(seconds)
    if fast > 0 and slow <= fast * (1 + noise):
        return ""
    quick, late = (clients[seconds.index(s)].device.name for s in (fast, slow))
    return (
        f"the FP32 engine takes {1e3 * fast:.3g} ms on {quick} and {1e3 * slow:.3g} ms on {late}, "
        f"with a noise of {noise:.1%}: engines are built on every device and timed on "
        f"{clients[0].device.name} alone"
    )
