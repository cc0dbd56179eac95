"""The command line over an api that runs nothing: ``faked.py SCENARIO ARGS…``."""

import sys
import time
from collections.abc import Generator
from pathlib import Path

from precsearch import api
from precsearch.api import OptimizeConfig, OptimizeResult
from precsearch.cli.main import main
from precsearch.core.events import Event, PlanWritten, TrialFinished
from tests.cli.runs import plan, synthetic_run


def result(scenario: str) -> OptimizeResult:
    return OptimizeResult(plan(), Path("m.plan.json"), None, True, scenario == "interrupted")


def events(scenario: str) -> Generator[Event, None, OptimizeResult]:
    try:
        for event in synthetic_run(builds=12, proxies=8):
            yield event
            if isinstance(event, TrialFinished):
                if scenario == "bug":
                    raise ZeroDivisionError("boom")
                time.sleep(30 if scenario == "slow" else 0.01)
    except KeyboardInterrupt:
        yield PlanWritten("m.plan.json", 0.55, 0.0088)
        return result("interrupted")
    return result(scenario)


if __name__ == "__main__":
    scenario = sys.argv[1]

    def optimize_events(config: OptimizeConfig) -> Generator[Event, None, OptimizeResult]:
        return events(scenario)

    api.optimize_events = optimize_events
    main(sys.argv[2:])
