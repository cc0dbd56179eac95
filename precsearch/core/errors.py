"""Every exception that precsearch raises on purpose.

PrecsearchError
├── InputError            the user's input is wrong; the message says what to change (exit code 2)
│   ├── ModelError        the ONNX model cannot be read or used
│   ├── DataError         feeds, labels or references do not fit the model
│   ├── PlanError         the plan file is malformed or of another schema
│   ├── OptionError       an option's value makes no sense here
│   └── OutputError       an output exists already, or cannot be written
├── UnmetError            not even the FP32 engine is within the tolerance (exit code 3)
├── ReplayError           a plan does not reproduce on this model or installation (exit code 4)
├── OutOfMemory           an engine asked for more memory than there is; also a MemoryError
├── EngineError           an engine failed; a trial that meets one is `Failed`, the search goes on
│   ├── BuildError        the backend refused or failed to build
│   └── RunError          the engine was built but does not run
│       └── DeviceLost    nor does any other in this process from now on
├── WorkerError           the worker process did not answer
│   ├── WorkerCrashed     it died (native crash, killed, out of memory)
│   │   └── WorkerKilled  something outside killed it; also a ResourceError
│   ├── WorkerMissing     no process can be started; also a ResourceError
│   └── WorkerTimeout     it passed its time limit and was killed
└── ResourceError         the machine lacks room, memory, handles or processes (exit code 2)
"""

from __future__ import annotations

__all__ = [
    "BuildError",
    "DataError",
    "DeviceLost",
    "EngineError",
    "InputError",
    "ModelError",
    "OptionError",
    "OutOfMemory",
    "OutputError",
    "PlanError",
    "PrecsearchError",
    "ReplayError",
    "ResourceError",
    "RunError",
    "UnmetError",
    "WorkerCrashed",
    "WorkerError",
    "WorkerKilled",
    "WorkerMissing",
    "WorkerTimeout",
]


class PrecsearchError(Exception):
    """The root of all errors raised on purpose.

    Attributes:
        stage: What a worker was doing, as it announced last; "start" before that, and "" for an
            error that no worker raised.
    """

    stage: str = ""


class InputError(PrecsearchError):
    """The user's input is wrong; the message is one sentence that says what to change."""


class ModelError(InputError):
    """The ONNX model cannot be read or used."""


class DataError(InputError):
    """Feeds, labels or references do not fit the model."""


class PlanError(InputError):
    """The plan file is malformed, or of a schema that this version does not read."""


class OptionError(InputError):
    """An option's value makes no sense here."""


class OutputError(InputError):
    """An output exists already, or its place cannot be written."""


class UnmetError(PrecsearchError):
    """Nothing is within the tolerance, not even the FP32 engine."""


class ReplayError(PrecsearchError):
    """A plan does not reproduce on this model or installation."""


class EngineError(PrecsearchError):
    """An engine failed. A trial that meets one is `Failed`; the search goes on."""


class BuildError(EngineError):
    """The backend refused the model or failed to build it."""


class RunError(EngineError):
    """The engine was built but does not run."""


class DeviceLost(RunError):  # noqa: N818 - it reads as what happened
    """A kernel failed in a way that the process does not get over, such as CUDA's error 700.

    A worker that meets it ends, as by a crash: no other engine is to fail for it.
    """


class OutOfMemory(PrecsearchError, MemoryError):  # noqa: N818 - it reads as what happened
    """An engine asked for more memory than there is, in a worker that lives on."""


class ResourceError(PrecsearchError):
    """The machine lacks what is needed; the message says what, and what to do about it.

    It says nothing about an engine, so it is never the outcome of a trial by itself.
    """


class WorkerError(PrecsearchError):
    """The worker process did not answer."""


class WorkerCrashed(WorkerError):  # noqa: N818 - it reads as what happened
    """The worker died: a native crash, a kill or the system's out-of-memory killer."""


class WorkerKilled(WorkerCrashed, ResourceError):  # noqa: N818 - it reads as what happened
    """Something outside killed the worker: the out-of-memory killer, or an operator."""


class WorkerMissing(WorkerError, ResourceError):  # noqa: N818 - it reads as what happened
    """No worker process can be started."""


class WorkerTimeout(WorkerError):  # noqa: N818 - it reads as what happened
    """The worker passed its time limit and its process group was killed."""
