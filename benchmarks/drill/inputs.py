"""Hostile models, plans, journals and data files through the command line.

Each is one command line: arguments in, exit code, stdout and stderr out. Most are run by
`precsearch.cli.main.run` in processes of a pool, some as processes of their own.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx

from benchmarks.drill.runs import START
from precsearch.cli.main import run
from tests.e2e.command import environment
from tests.hostile.situations.world import journal_bytes, write_world

__all__ = ["CODES", "hostile_inputs"]

CODES = {0, 2, 3, 4}
KINDS = ("model", "plan", "data", "journal")
MARKER = "imported"
_TEXTS = (
    "",
    "evil.py:f",
    "evil:f",
    "../evil.py",
    "/etc/passwd",
    "\x00",
    "\ud800",
    "nan",
    "é\u2028",
)
_NUMBERS = (-1, 0, 1, 3, 255, 2**31, 2**63 - 1, -(2**63), 10**30, 1e308, -0.5, True, None)
_EVIL = f"open({MARKER!r}, 'a').write(__name__)\ndef f(*_): return 0.0\n"


def hostile_inputs(seed: int, count: int, *, processes: bool = False) -> Counter[str]:
    """Throw so many inputs; with ``processes``, each at a process of its own."""
    rng, found = random.Random(seed), Counter[str]()
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        world = Path(name) / "world"
        world.mkdir()
        _prepare(world)
        before = _contents(world)
        os.chdir(world)
        try:
            for number in range(count):
                kind = KINDS[(seed + number) % len(KINDS)]
                line = _made(kind, world, rng)
                code, out, err = _process(line) if processes else _here(line)
                _judge(found, kind, line, (code, out, err))
                after = _contents(world)
                if after != before:
                    changed = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
                    os.write(2, f"wrong: {line} changed {changed}\n".encode())
                    found["outside"] += 1
                    _prepare(world)
                found["imports"] += (world / MARKER).exists()
                found[f"{kind}s, {'accepted' if code == 0 else 'refused'}"] += 1
        finally:
            os.chdir(here)
    return found


def _prepare(world: Path) -> None:
    for path in world.iterdir():
        if path.is_file():
            path.unlink()
    write_world(world)
    for name in ("evil.py", "json.py", "onnx.py", "numpy.py"):
        (world / name).write_text(_EVIL)
    run_dir = world / "run"
    run_dir.mkdir(exist_ok=True)
    (run_dir / "journal.jsonl").write_bytes(journal_bytes(world))
    (world / "busy").mkdir(exist_ok=True)
    trial = b'{"trial":{},"type":"TrialFinished"}\n'
    (world / "busy/journal.jsonl").write_bytes(journal_bytes(world) + trial)
    (world / "made").mkdir(exist_ok=True)


def _made(kind: str, world: Path, rng: random.Random) -> list[str]:
    """Write one hostile file; gives the command line that reads it."""
    made = world / "made"
    for path in made.iterdir():
        path.unlink()
    if kind == "model":
        valid = (world / "model.onnx").read_bytes()
        bad = _mutated_model(valid, rng) if rng.random() < 0.5 else _mutated(valid, rng)
        (made / "m.onnx").write_bytes(bad)
        return ["inspect", "made/m.onnx", "--backend", "onnxruntime"]
    if kind == "plan":
        valid = (world / "plan.json").read_bytes()
        (made / "p.json").write_bytes(_mutated_text(valid, rng))
        if rng.random() < 0.3:
            return ["report", "made/p.json", "plan.json"]
        return ["build", "made/p.json", "--model", "model.onnx", "-o", "made/b.onnx"]
    if kind == "data":
        (made / "d.npz").write_bytes(_mutated((world / "data.npz").read_bytes(), rng))
        # A journal is there already: what the data is worth is decided before it is refused.
        tail = ["--threads", "1", "--tol", "0.9", "-o", "made/p.json", "--run-dir", "busy"]
        return ["optimize", "model.onnx", "--data", "made/d.npz", *tail]
    rows = (world / "run/journal.jsonl").read_bytes() * rng.randrange(1, 4)
    (made / "journal.jsonl").write_bytes(_mutated_text(rows, rng))
    if rng.random() < 0.8:  # a page takes ten times as long
        return ["watch", "made/journal.jsonl"]
    return ["report", "made/journal.jsonl", "-o", "made/r.html"]


def _here(line: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = int(run(line))
    return code, out.getvalue(), err.getvalue()


def _process(line: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(
        [*START, *line], env=environment(), capture_output=True, timeout=300, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def _judge(found: Counter[str], kind: str, line: list[str], done: tuple[int, str, str]) -> None:
    code, out, err = done
    found["tracebacks"] += "Traceback" in out + err or "bug in precsearch" in err
    one = err.count("\n") == 1 and err.startswith("error: ")
    good = code in CODES and (code == 0 or one or kind == "journal")
    if not good:
        found["wrong"] += 1
        os.write(2, f"wrong: {kind} {line} exit {code}: {err[-300:]!a}\n".encode())


def _contents(world: Path) -> dict[str, str]:
    """Every file but those that the command was asked to write."""
    return {
        path.relative_to(world).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in world.rglob("*")
        if path.is_file() and path.parent.name != "made" and "__pycache__" not in path.parts
    }


def _mutated(valid: bytes, rng: random.Random) -> bytes:
    """Flips, cuts, splices, insertions: one to six of them."""
    data = bytearray(valid)
    for _ in range(rng.randrange(1, 7)):
        at, how = rng.randrange(len(data) + 1), rng.randrange(5)
        if how == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1 and rng.random() < 0.2:
            del data[at:]
        elif how == 2:
            del data[at : at + rng.randrange(1, 64)]
        elif how == 3:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            start = rng.randrange(len(data) + 1)
            data[at:at] = data[start : start + rng.randrange(1, 64)]
    return bytes(data)


def _mutated_text(valid: bytes, rng: random.Random) -> bytes:
    """JSON, or JSON lines, with bytes or values changed."""
    if rng.random() < 0.4:
        return _mutated(valid, rng)
    lines = valid.splitlines() if valid.startswith(b'{"identity') else [valid]
    number = rng.randrange(len(lines))
    document = json.loads(lines[number])
    for _ in range(rng.randrange(1, 4)):
        owner, key = rng.choice(list(_places(document)))
        how = rng.randrange(4)
        if how == 0 and isinstance(owner, dict):
            owner[rng.choice(_TEXTS)] = owner.pop(key)
        elif how == 1:
            del owner[key]
        else:
            owner[key] = rng.choice((*_TEXTS, *_NUMBERS, [], {}, [[]], copy.deepcopy(document)))
        if not document:
            break
    lines[number] = json.dumps(document).encode()
    return b"\n".join(lines) + b"\n"


def _places(root: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - parsed JSON
    keys = root if isinstance(root, dict) else range(len(root))
    for key in list(keys):
        yield root, key
        if isinstance(root[key], (dict, list)) and root[key]:
            yield from _places(root[key])


def _mutated_model(valid: bytes, rng: random.Random) -> bytes:
    """A model whose names, shapes, types, attributes or weights are changed."""
    model = onnx.ModelProto.FromString(valid)
    graph = model.graph
    for _ in range(rng.randrange(1, 4)):
        how, node = rng.randrange(9), rng.choice(graph.node)
        number = rng.choice([0, -1, 1, 7, 2**31, 2**62])
        if how == 0:
            node.op_type = rng.choice(["Loop", "If", "Conv", "Reshape", "", "é", "MatMul"])
        elif how == 1 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(["", "x", "y", *node.output])
        elif how == 2 and node.output:
            node.output[0] = rng.choice(["", "x", "y", "../y", "\n"])
        elif how == 3 and node.attribute:
            rng.choice(node.attribute).i = number
        elif how == 4 and graph.initializer:
            rng.choice(graph.initializer).dims.append(number)
        elif how == 5 and graph.initializer:
            weight = rng.choice(graph.initializer)
            weight.raw_data = _mutated(weight.raw_data or b"x", rng)
        elif how == 6 and graph.initializer:
            weight = rng.choice(graph.initializer)
            weight.data_location = onnx.TensorProto.EXTERNAL
            entry = weight.external_data.add()
            entry.key, entry.value = "location", rng.choice(["/etc/passwd", "../x", "evil.py"])
        elif how == 7:
            graph.input[0].type.tensor_type.elem_type = rng.randrange(30)
        else:
            model.opset_import[0].version = number % 2**31
    return bytes(model.SerializeToString())
