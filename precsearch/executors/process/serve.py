"""What runs in the child: it makes the served object and answers requests until they end."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import io
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from precsearch.core.errors import (
    DeviceLost,
    EngineError,
    OutOfMemory,
    PrecsearchError,
    ResourceError,
)
from precsearch.executors.process.wire import (
    DEVICE_LOST,
    GRACE_S,
    GREETING,
    load,
    pack,
    receive,
    send,
)
from precsearch.measurement.device_lock import WAITING
from precsearch.system.faults import machine_fault

__all__ = ["serve"]


def serve(preload: Sequence[str], memory_limit: int | None) -> None:
    """Answer requests until they end."""
    requests = os.fdopen(os.dup(0), "rb")
    # Never closed before the process ends: the end of the replies means that it has ended.
    replies = os.fdopen(os.dup(1), "wb", closefd=False)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # or a crash takes the last words with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    faulthandler.enable()
    inbox: queue.SimpleQueue[list[bytearray] | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, inbox), daemon=True).start()
    send(replies, [GREETING])
    for name in preload:
        with suppress(ImportError):
            importlib.import_module(name)
    if memory_limit is not None and sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))
    served = _Served(replies)
    while (parts := inbox.get()) is not None:
        served.answer(parts)
        del parts
    gc.freeze()  # the process ends: a last look for garbage takes longer than an inference


def _listen(requests: BinaryIO, inbox: queue.SimpleQueue[list[bytearray] | None]) -> None:
    with suppress(EOFError, OSError):
        while True:
            inbox.put(receive(requests))
    inbox.put(None)
    time.sleep(GRACE_S / 2)  # whoever is at work now works for nobody
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class _Served:
    """The object that is served, once it was made."""

    def __init__(self, replies: BinaryIO) -> None:
        self._replies = replies
        self._target: Any = None
        self._limit_s = 0.0

    def answer(self, parts: list[bytearray]) -> None:
        try:
            self._limit_s, method, args, more = load(parts)
            parts.clear()  # a model was copied out of them
            self._limit()
            reply = pack(("result", self._call(method, args, more)))
        except DeviceLost:
            traceback.print_exc()
            os._exit(DEVICE_LOST)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent decides
            traceback.print_exc()
            reply = pack(("error", _portable(error)))
        finally:
            faulthandler.cancel_dump_traceback_later()
        send(self._replies, reply)

    def _call(self, method: str | None, args: tuple[Any, ...], more: Mapping[str, Any]) -> object:
        if method is not None:
            return getattr(self._target, method)(*args, **more)
        factory, given = args
        self._target = None  # one at a time in memory
        self._target = factory(*given, self._announce)
        return None

    def _announce(self, stage: str) -> None:
        send(self._replies, pack(("stage", stage)))
        if stage == WAITING:
            faulthandler.cancel_dump_traceback_later()
        else:
            self._limit()

    def _limit(self) -> None:
        """End this process at the latest so long after what it announced last."""
        faulthandler.dump_traceback_later(self._limit_s + GRACE_S, exit=True)


def _portable(error: Exception) -> PrecsearchError:
    """``error`` as one that the parent can read."""
    text = " ".join(str(error).split()) or "no details"
    if isinstance(error, MemoryError):
        return OutOfMemory(text)
    if isinstance(error, PrecsearchError):
        with suppress(pickle.PickleError, TypeError, AttributeError, ImportError):
            pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
            return error
    if fault := machine_fault(error):
        return ResourceError(fault)
    return EngineError(f"{type(error).__name__}: {text}"[:500])
