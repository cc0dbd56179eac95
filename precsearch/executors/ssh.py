"""A device on another host, over SSH: the worker of this machine, started there.

The worker's requests and replies are its standard input and output, so that a pipe to another host
is all it needs. The host needs the same version of precsearch. No port is opened there, and what is
stored there is the model, in a folder of its own, with build caches and engines.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qs, urlsplit

from precsearch._version import __version__
from precsearch.core.device import DeviceSpec
from precsearch.core.errors import OptionError, ResourceError, WorkerCrashed, WorkerKilled
from precsearch.executors.model_files import ModelFiles
from precsearch.executors.process.worker import Worker
from precsearch.executors.protocol import Channel, Executor
from precsearch.executors.request import Request
from precsearch.executors.site import ROOT, Site

__all__ = ["Host", "SiteKeeper", "SshExecutor", "open_ssh", "parse_target"]

_COPY_LIMIT_S = 3600.0
_OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15")

Service = TypeVar("Service")


@dataclass(frozen=True, slots=True)
class Host:
    """A host as ``--target`` names it.

    Attributes:
        name: For people, ``user@host`` or ``host``.
        prefix: Words that run a shell command there, which comes last.
        python: The interpreter there that has precsearch.
        root: Folder for models, build caches and engines there.
    """

    name: str
    prefix: tuple[str, ...]
    python: str = "python3"
    root: str = ROOT

    def command(self, options: dict[str, object]) -> list[str]:
        """The command line of a child of this machine that is a worker there."""
        given = json.dumps(options)
        return [*self.prefix, shlex.join([*_SHELL, self.python, "-c", _BOOT, given])]


_SHELL = ("sh", "-c", '"$@"; exit $?', "sh")
"""A shell that outlives the worker. Its exit code tells what signal ended the worker, where ssh
itself would give 255 for any, as for a connection that broke."""

_BOOT = (
    # Nothing is imported from the folder that the other host happens to start in.
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "import json; given = json.loads(sys.argv.pop()); "
    # A group of its own: the worker ends it, and nothing else, when the connection breaks.
    "import os; os.getpgrp() == os.getpid() or os.setpgid(0, 0); "
    "given['cores'] and os.sched_setaffinity(0, given['cores']); "
    "from precsearch.executors.process.serve import serve; serve(given['preload'], given['memory'])"
)


def parse_target(text: str) -> Host:
    """``ssh://user@host:22?python=/usr/bin/python3&root=/data/precsearch`` as a host.

    Raises:
        OptionError: It is not of this form.
    """
    try:
        url = urlsplit(text)
        port, given = url.port, parse_qs(url.query, strict_parsing=bool(url.query))
    except ValueError:
        raise _malformed(text) from None
    unknown = set(given) - {"python", "root"}
    plain = url.scheme == "ssh" and url.hostname and url.path in ("", "/")
    if not plain or url.password is not None or unknown:
        raise _malformed(text)
    name = _host_name(url)
    if name.startswith("-"):  # it would be an option of ssh
        raise _malformed(text)
    ports = ("-p", str(port)) if port else ()
    return Host(
        name,
        ("ssh", *_OPTIONS, *ports, name),
        given.get("python", ["python3"])[-1],
        given.get("root", [ROOT])[-1],
    )


def _host_name(url: SplitResult) -> str:
    """``user@host`` in the user's case: ssh tells the names of its configuration apart by it."""
    start = url.netloc.lower().rfind(url.hostname or "")
    host = url.netloc[start : start + len(url.hostname or "")]
    return f"{url.username}@{host}" if url.username else host


def _malformed(text: str) -> OptionError:
    shown = re.sub(r":[^:@/]*@", ":***@", text)
    return OptionError(
        "--target takes a host such as ssh://user@host, with ?python=PATH and &root=FOLDER if they "
        f"are others than python3 and ~/.cache/precsearch, and no password; not {shown!r}"
    )


class SiteKeeper:
    """Puts the model's files where a service looks for them; it runs on the other host."""

    def __init__(self, site: Site, announce: Callable[[str], None]) -> None:
        self._site = site
        announce("copy")

    def version(self) -> str:
        """Of precsearch there."""
        return __version__

    def missing(self) -> tuple[str, ...]:
        """See `Site.missing`."""
        return self._site.missing()

    def put(self, name: str, data: bytes) -> None:
        """See `Site.put`."""
        self._site.put(name, data)


class SshExecutor(Executor):
    """See `precsearch.executors.protocol.Executor`: one device, on another host.

    Args:
        host: The host.
        request: What a run asks for.

    Raises:
        OptionError: The host has another version of precsearch.
        WorkerError: It does not answer.
    """

    def __init__(self, host: Host, request: Request) -> None:
        self._host = host
        self._device = DeviceSpec(host.name, request.facts.device)
        self._shared = request.workers > 1
        self._site = Site.of(ModelFiles.of(request.source), host.root)
        self._copy(request.source.path.resolve().parent)

    def _copy(self, folder: Path) -> None:
        """Send what the host lacks of the model."""
        with self._worker(SiteKeeper, (self._site,), _COPY_LIMIT_S) as keeper:
            there = self._version(keeper)
            if there != __version__:
                raise OptionError(
                    f"{self._host.name} has precsearch {there}, and this is {__version__}; install "
                    "the same version there"
                )
            for name in keeper.call(SiteKeeper.missing):
                try:
                    data = (folder / name).read_bytes()
                except OSError as error:
                    raise ResourceError(
                        f"the model's file {name!r} cannot be read again: {error.strerror}"
                    ) from error
                keeper.call(SiteKeeper.put, name, data)

    def _version(self, keeper: Worker[SiteKeeper]) -> str:
        """Of precsearch there; the first call, which shows whether the host answers at all."""
        try:
            return keeper.call(SiteKeeper.version)
        except (WorkerCrashed, WorkerKilled) as error:
            lines = keeper.log_tail().strip().splitlines()
            message = f": {lines[-1].strip()}" if lines else ""
            asked = shlex.join([*self._host.prefix, self._host.python, "-m", "precsearch"])
            raise ResourceError(
                f"{self._host.name} does not start a worker ({error}{message}); check that this "
                f"works: {asked} --version"
            ) from error

    def _worker(
        self, make: Callable[..., Service], args: tuple[object, ...], limit_s: float
    ) -> Worker[Service]:
        return Worker(make, args, limit_s=limit_s, device=self._device, launch=self._host.command)

    def devices(self) -> Sequence[DeviceSpec]:
        """See `Executor.devices`."""
        return (self._device,)

    def open(
        self,
        device: DeviceSpec,
        make: Callable[..., Service],
        /,
        *args: object,
        limit_s: float = 3600.0,
    ) -> Channel[Service]:
        """See `Executor.open`."""
        bound = partial(_placed, self._site, device, self._shared)
        return Worker(
            make,
            args,
            limit_s=limit_s,
            device=device,
            launch=self._host.command,
            binding=bound,
        )

    def lock(self, device: DeviceSpec) -> str | None:
        """See `Executor.lock`: what this machine computes disturbs nobody there."""
        return None

    def close(self) -> None:
        """See `Executor.close`."""


def _placed(
    site: Site,
    device: DeviceSpec,
    shared: bool,
    make: Callable[..., Service],
    *args: Any,  # noqa: ANN401 - a service's own
) -> Service:
    """Make a service with its place on the host that this runs on."""
    return make(site.place(device, shared=shared), *args)


def open_ssh(request: Request) -> SshExecutor:
    """The executor of ``--target``."""
    return SshExecutor(parse_target(request.address), request)
