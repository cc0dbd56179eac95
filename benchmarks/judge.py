"""How much faster one model is than another, by plain ONNX Runtime: no precsearch is in it.

    python -m benchmarks.judge ORIGINAL.onnx SHIPPED.onnx DATA.npz [--threads 1] [--times 8]

Each model runs alone in a process of its own, and the two take turns, a new process each time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from statistics import median


def seconds_of(model: str, data: str, threads: int, seconds: float) -> float:
    """The median time of one inference, in this process, on up to 16 samples."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with np.load(data) as file:
        ranks = {i.name: len(i.shape) for i in session.get_inputs()}
        arrays = {n: file[n][:16] for n in ranks}
    count = min(map(len, arrays.values()))
    feeds = [
        {n: a[i] if a.ndim > ranks[n] else a[i : i + 1] for n, a in arrays.items()}
        for i in range(count)
    ]
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < 10 or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        session.run(None, feeds[len(found) % count])
        found.append(time.perf_counter() - start)
    return median(found[len(found) // 4 :])  # the first ones warm it up


def judged(first: str, second: str, data: str, *, threads: int, times: int) -> tuple[float, ...]:
    """How many times as fast the second model is, in each of ``times`` pairs of processes."""
    found = []
    for _ in range(times):
        command = [sys.executable, "-m", "benchmarks.judge", data, "--threads", str(threads)]
        a, b = (float(subprocess.check_output([*command, "--one", m])) for m in (first, second))
        found.append(a / b)
    return tuple(found)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--one", help="print the seconds of this model alone")
    given = parser.parse_args()
    if given.one is not None:
        print(seconds_of(given.one, given.files[0], given.threads, 0.5))
        return
    found = judged(*given.files, threads=given.threads, times=given.times)
    print(json.dumps({"speed": median(found), "least": min(found), "most": max(found)}))


if __name__ == "__main__":
    main()
