"""A whole run as a script, to be killed: ``drill.py RUN_DIR LANDSCAPE_JSON WORKERS SECONDS``.

Not guarded by ``if __name__ == "__main__"``, like many a user's script. Prints the pids of its
workers, then the number of every trial once the journal has it, then "done".
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from precsearch.core.events import RunStarted, TrialFinished
from precsearch.executors.process import Worker
from precsearch.search.evaluator import pooled
from precsearch.search.journal import Journal
from precsearch.search.loop import search
from tests.search.loop_toys import IDENTITY, Climb, ToyService, in_workers, toy_problem, toy_space

run_dir, landscape, count, seconds = sys.argv[1:]
problem = toy_problem(toy_space(4))
with ExitStack() as stack:
    journal = stack.enter_context(Journal.open(run_dir, IDENTITY, resume=True))
    arguments = (landscape, float(seconds))
    workers = [
        stack.enter_context(Worker(ToyService, arguments, limit_s=60.0, preload=()))
        for _ in range(int(count))
    ]
    print("workers", *(w.pid for w in workers), flush=True)
    journal.append(RunStarted(IDENTITY, "toy.onnx", "0"))
    evaluate = pooled(in_workers(problem.space, workers))
    memo = journal.memo
    for event in search(problem, Climb(), evaluate, memo=memo, spent=memo.seconds):
        journal.append(event)
        if isinstance(event, TrialFinished):
            print("trial", event.trial.number, flush=True)
print("done", flush=True)
