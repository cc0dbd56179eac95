"""`RayExecutor`: the devices of a cluster, or of this machine."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from precsearch.core.device import DeviceSpec
from precsearch.core.errors import OptionError
from precsearch.executors.model_files import ModelFiles
from precsearch.executors.process.executor import ProcessExecutor
from precsearch.executors.protocol import Executor
from precsearch.executors.ray.channel import RayChannel
from precsearch.executors.ray.node import Node
from precsearch.executors.request import Request
from precsearch.executors.site import Site

__all__ = ["LOCAL", "RayExecutor", "open_ray"]

LOCAL = "local"
"""The address that stands for a Ray of this machine, started for the run."""

_ANSWER_S = 60.0
"""How long an actor may take to say which GPU it has."""

_REACH_S = 10.0
"""How long the head of a cluster may take to accept a connection; Ray itself tries for minutes."""

S = TypeVar("S")


class RayExecutor(Executor):
    """See `precsearch.executors.protocol.Executor`.

    Args:
        request: What a run asks for; its address is a cluster's, or `LOCAL`.

    Raises:
        OptionError: Ray is not installed, the cluster does not answer, or has no such device.
    """

    def __init__(self, request: Request) -> None:
        self._ray = _installed()
        self._address = request.address.removeprefix("ray://")
        self._local = self._address in ("", LOCAL)
        self._files = ModelFiles.of(request.source)
        self._objects: dict[int, tuple[object, Any]] = {}
        self._sent: dict[str, Any] = {}
        self._site = Site(self._files.digest, ())
        self._here = ProcessExecutor(
            request.devices() if self._local else (DeviceSpec(),),
            self._files,
            request.folder,
            shared=True,
        )
        self._nodes: dict[str, str] = {}
        self._holders: dict[DeviceSpec, Any] = {}  # actors that Ray gave a GPU to
        gpus = len(request.devices()) if self._local and request.facts.device == "gpu" else None
        _start(self._ray, self._address, local=self._local, gpus=gpus)
        self._devices = self._here.devices() if self._local else self._found(request)

    def devices(self) -> Sequence[DeviceSpec]:
        """See `Executor.devices`."""
        return self._devices

    def open(
        self,
        device: DeviceSpec,
        make: Callable[..., S],
        /,
        *args: object,
        limit_s: float = 3600.0,
    ) -> RayChannel[S]:
        """See `Executor.open`."""
        return RayChannel(device, self._started, self._put, make, args, limit_s)

    def lock(self, device: DeviceSpec) -> str | None:
        """See `Executor.lock`."""
        return self._here.lock(device) if self._local else None

    def close(self) -> None:
        """See `Executor.close`."""
        self._here.close()
        self._objects.clear()
        self._holders.clear()
        self._ray.shutdown()

    def _started(self, device: DeviceSpec) -> Any:  # noqa: ANN401 - Ray's handle
        """An actor for a device; on a GPU that an actor of this run has already, a second one."""
        visible = self._visible(device)
        options: dict[str, Any] = {
            "max_restarts": -1,
            "max_task_retries": 0,
            "max_concurrency": 4,  # `stop` while a call runs
            "num_cpus": 0,
            "num_gpus": 1 if device.kind == "gpu" and not visible else 0,
        }
        if not self._local:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            node = self._nodes[device.host]
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        place = self._here.place(device) if self._local else None
        site, files = (self._site, {}) if self._local else self._shipped()
        actor = self._ray.remote(Node).options(**options)
        found = actor.remote(device, place, site, files, visible)
        if options["num_gpus"]:
            self._holders[device] = found
        return found

    def _visible(self, device: DeviceSpec) -> str:
        """The GPU that an actor of this run holds for a device, as CUDA names it; "" for none."""
        holder = self._holders.get(device)
        if holder is None:
            return ""
        try:
            return str(self._ray.get(holder.visible.remote(), timeout=_ANSWER_S))
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.GetTimeoutError):
            return ""  # it is closed, or its node is gone

    def _shipped(self) -> tuple[Site, dict[str, Any]]:
        """The model's files in Ray's store, put there once; a node takes what it lacks."""
        if not self._sent:
            self._site = Site.of(self._files)
            folder = self._files.model.parent
            self._sent = {n: self._ray.put((folder / n).read_bytes()) for n, _ in self._site.files}
        return self._site, self._sent

    def _put(self, value: object) -> Any:  # noqa: ANN401 - Ray's reference
        """A reference to a value that may go to many nodes; it is put once."""
        if id(value) not in self._objects:
            self._objects[id(value)] = value, self._ray.put(value)
        return self._objects[id(value)][1]

    def _found(self, request: Request) -> tuple[DeviceSpec, ...]:
        """The devices of the cluster, those of the driver's own node first."""
        kind = request.facts.device
        devices: list[DeviceSpec] = []
        alive = [n for n in self._ray.nodes() if n["Alive"]]
        mine = socket.gethostname()
        for node in sorted(alive, key=lambda n: (n["NodeManagerHostname"] != mine, n["NodeID"])):
            name = node["NodeManagerHostname"]
            if name in self._nodes:
                name = f"{name}-{node['NodeID'][:6]}"
            count = int(node["Resources"].get("GPU", 0)) if kind == "gpu" else 1
            self._nodes[name] = node["NodeID"]
            devices += [DeviceSpec(name, kind, index) for index in range(count)]
        if not devices:
            raise OptionError(
                f"the Ray cluster has no {kind.upper()} that is alive; check 'ray status'"
            )
        return tuple(devices)


def open_ray(request: Request) -> RayExecutor:
    """The executor of ``--ray``."""
    return RayExecutor(request)


def _installed() -> Any:  # noqa: ANN401 - a module
    try:
        import ray
    except ImportError as error:
        raise OptionError(
            "--ray needs Ray: pip install 'precsearch[ray]', on every node of the cluster"
        ) from error
    return ray


def _reach(address: str) -> None:
    """Connect to ``host:port`` once; other addresses, such as ``auto``, are left to Ray.

    Raises:
        OSError: Nothing accepts a connection there.
    """
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal() and int(port) < 1 << 16:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()


def _start(ray: Any, address: str, *, local: bool, gpus: int | None) -> None:  # noqa: ANN401 - a module
    """Connect to the cluster, or start Ray on this machine."""
    quiet = {"logging_level": "error", "log_to_driver": False, "configure_logging": False}
    try:
        if local:
            # Ray's processes import precsearch from where this process does.
            path = os.pathsep.join(os.path.abspath(p) for p in sys.path if p)  # noqa: PTH100 - an entry may be any string
            env = {"env_vars": {"PYTHONPATH": path}}
            # Ray does not find the GPUs of every machine; the user has named them.
            ray.init(num_gpus=gpus, include_dashboard=False, runtime_env=env, **quiet)
        else:
            _reach(address)
            ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        message = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OptionError(
            f"Ray does not answer at {address or LOCAL!r}: {message}; check --ray, and that "
            "the nodes have one RAY_AUTH_TOKEN"
        ) from error
