"""A synthetic run, and event sequences that no run would produce."""

import math
import random
from collections.abc import Iterator

from hypothesis import strategies as st

from precsearch.core.backend import Fingerprint
from precsearch.core.events import (
    BatchProposed,
    Event,
    FinalistJudged,
    PlanWritten,
    RunStarted,
    SearchFinished,
    SearchStarted,
    StageStarted,
    TrialFinished,
    TrialStarted,
    Warned,
)
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget
from precsearch.core.space import Assignment
from precsearch.core.trial import (
    Accuracy,
    Aggregation,
    Failed,
    Fidelity,
    Latency,
    Measured,
    Measurement,
    Prediction,
    Proposal,
    Trial,
)
from precsearch.plan.plan import (
    Criteria,
    Evidence,
    GroupEvidence,
    GroupRecipe,
    Plan,
    Recipe,
    TrialEvidence,
)

GROUPS = 53
REASONS = [
    "all FP32",
    "all INT8",
    "predicted fastest within 0.5 of the bound",
    "predicted fastest within the bound",
    "bisect: the 12 most sensitive groups back in FP32",
    "TPE",
]


def latency(ratio: float, width: float = 0.02) -> Latency:
    seconds = 2.84e-3 * ratio
    low, high = 1 - width, 1 + width
    return Latency(
        seconds, seconds * low, seconds * high, ratio, ratio * low, ratio * high, (seconds,) * 20
    )


def accuracy(loss: float) -> Accuracy:
    return Accuracy(loss, loss * 1.04, {"y": loss}, (loss, loss * 1.7), (1.0, 1.0), Aggregation.RMS)


def engine(number: int, count: int, loss: float, ratio: float, reason: str = "") -> Trial:
    assignment = Assignment.of({f"group{i}": Precision.INT8 for i in range(count)})
    achieved = {k: Precision.FP32 if i < 2 else p for i, (k, p) in enumerate(assignment.entries)}
    measurement = Measurement(accuracy(loss), latency(ratio), achieved=achieved)
    return Trial(number, Proposal(assignment, reason=reason), Measured(measurement), seconds=4.0)


def synthetic_run(builds: int = 24, proxies: int = 40, seed: int = 1) -> Iterator[Event]:
    """What a search of a CNN looks like."""
    draw = random.Random(seed)
    yield RunStarted({"model": "ab" * 32}, "resnet20_cifar10.onnx", "0.1.0")
    yield Warned("no --holdout was given: a quarter of --data is kept for the final check")
    yield StageStarted("read", "resnet20_cifar10.onnx, 122 nodes")
    yield StageStarted("reference", "16 feeds")
    yield StageStarted("calibrate", "71 tensors, 8 feeds")
    yield StageStarted("baseline", "FP32 engine against the reference")
    device = "Intel Xeon Platinum 8481C, 8 threads"
    bound, budget = Bound(1e-2), Budget(builds, 1800.0)
    yield SearchStarted(device, "auto", GROUPS, 122, bound, budget, 0.018)
    number, elapsed = 0, 3.0
    proposals = tuple(
        Proposal(Assignment.of({f"group{i}": Precision.INT8}), Fidelity.PROXY, "sensitivity")
        for i in range(proxies)
    )
    for built in range(builds):
        if built == 2:
            yield BatchProposed(proposals)
            for proposal in proposals:
                yield TrialStarted(number, proposal)
                elapsed += 0.05
                found = Measured(Measurement(accuracy(draw.uniform(1e-3, 2e-2))))
                yield TrialFinished(Trial(number, proposal, found), built, elapsed)
                number += 1
        count = {0: 0, 1: GROUPS}.get(built, draw.randint(8, 50))
        reason = REASONS[min(built, 1)] if built < 2 else draw.choice(REASONS[2:])
        loss = 1e-7 if not count else 4e-4 * count * draw.uniform(0.35, 1.2)
        ratio = 1.0 - 0.0125 * count * draw.uniform(0.8, 1.0) + draw.uniform(0, 0.02)
        trial = engine(number, count, loss, ratio, reason)
        if built == 7:
            message = "the engine died (signal 11) while it was opened"
            trial = Trial(number, trial.proposal, Failed("build", "crash", message), seconds=4.0)
        if built == 9:
            trial = engine(number, count, math.inf, ratio, reason)
        yield BatchProposed((trial.proposal,))
        yield TrialStarted(number, trial.proposal)
        elapsed += draw.uniform(2, 6)
        yield TrialFinished(trial, built + 1, elapsed)
        number += 1
    yield SearchFinished("builds", builds, elapsed)
    yield StageStarted("confirm", "4 finalists, each opened 3 times")
    yield FinalistJudged(12, 0.0113, 0.52, False)
    yield FinalistJudged(15, 0.0091, 0.55, True)
    yield PlanWritten("resnet20_cifar10.plan.json", 0.55, 0.0088, {"int8": 39, "fp32": 14})


def plan(*, groups: int = 12, int8: int = 8, ratio: float = 0.55, holdout: bool = True) -> Plan:
    keys = [f"/layer{i}/conv/Conv_output_0" for i in range(groups)]
    asked = {k: Precision.INT8 if i < int8 else Precision.FP32 for i, k in enumerate(keys)}
    ran = {**asked, keys[0]: Precision.FP32}
    recipe = Recipe(
        model_sha256="ab" * 32,
        materialised_sha256="cd" * 32,
        lowering="typed-1",
        scheme="ort-x86",
        granularity="group",
        space_sha256="ef" * 32,
        backend="onnxruntime",
        groups=tuple(GroupRecipe(k, "conv", p, "12") for k, p in asked.items()),
    )
    evidence = Evidence(
        version="0.1.0",
        created="2025-01-01T00:00:00+00:00",
        fingerprint=Fingerprint("onnxruntime", {"onnxruntime": "1.24"}, "a CPU"),
        strategy="auto",
        calibration="minmax",
        noise=0.018,
        baseline=latency(1.0),
        latency=latency(ratio),
        accuracy=accuracy(0.0088),
        holdout=accuracy(0.0091) if holdout else None,
        groups=tuple(GroupEvidence(k, p, "because") for k, p in ran.items()),
        trials=(
            TrialEvidence(0, "00", {}, "engine", 0.0, 1.0, pareto=True),
            TrialEvidence(1, "01", {"int8": 12}, "engine", 0.031, 0.41, pareto=True),
            TrialEvidence(2, "02", {"int8": 1}, "proxy", 0.002),
        ),
        warnings=("the loss of single samples varies much: the worst of 32 is at 0.015",),
        stopped="builds",
        seconds=131.0,
    )
    criteria = Criteria(metric="rel-l2", tolerance=1e-2, seed=0, data={"random": False})
    return Plan(recipe, criteria, evidence)


_TEXTS = st.text(max_size=30) | st.sampled_from(["[red]x[/]", "\x1b[31m", "名前", "a\nb\tc", ""])
_FLOATS = st.floats() | st.sampled_from([0.0, -1.0, 1e-300, 1e300])
_COUNTS = st.integers(0, 10**6)


@st.composite
def proposals(draw: st.DrawFn) -> Proposal:
    keys = draw(st.lists(_TEXTS, max_size=4))
    precisions = {k: draw(st.sampled_from(list(Precision))) for k in keys}
    fidelity = draw(st.sampled_from(list(Fidelity)))
    predicted = draw(st.none() | st.builds(Prediction, _FLOATS, _FLOATS))
    return Proposal(Assignment.of(precisions), fidelity, draw(_TEXTS), predicted)


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    proposal = draw(proposals())
    number = draw(st.integers(0, 5))
    if draw(st.booleans()):
        return Trial(number, proposal, Failed(draw(_TEXTS), draw(_TEXTS), draw(_TEXTS)))
    times = draw(st.builds(Latency, *[_FLOATS] * 6)) if draw(st.booleans()) else None
    found = Accuracy(draw(_FLOATS), draw(_FLOATS))
    ran = {k: draw(st.sampled_from(list(Precision))) for k in proposal.assignment}
    return Trial(number, proposal, Measured(Measurement(found, times, achieved=ran)))


_BOUNDS = st.builds(
    Bound,
    st.sampled_from([0.0, 1e-300, 1e-6, 1e-2, 1.0, 40.0, 1e300]),
    st.sampled_from(["rel-l2", "sqnr", "mine:loss", "top1"]) | _TEXTS,
    st.sampled_from([1.0, 1.02, 3.0]),
)
_BUDGETS = st.builds(
    Budget,
    st.none() | st.integers(1, 10**6),
    st.none() | st.floats(0, exclude_min=True),
)


def _events() -> st.SearchStrategy[Event]:
    kinds: list[st.SearchStrategy[Event]] = [
        st.builds(RunStarted, st.just({}), _TEXTS, _TEXTS),
        st.builds(StageStarted, _TEXTS, _TEXTS),
        st.builds(Warned, _TEXTS),
        st.builds(
            SearchStarted, _TEXTS, _TEXTS, _COUNTS, _COUNTS, _BOUNDS, _BUDGETS, _FLOATS, _FLOATS
        ),
        st.builds(BatchProposed, st.lists(proposals(), max_size=3).map(tuple)),
        st.builds(TrialStarted, st.integers(0, 5), proposals()),
        st.builds(TrialFinished, trials(), _COUNTS, _FLOATS, st.booleans()),
        st.builds(SearchFinished, _TEXTS, _COUNTS, _FLOATS),
        st.builds(FinalistJudged, _COUNTS, _FLOATS, _FLOATS, st.booleans()),
        st.builds(PlanWritten, _TEXTS, _FLOATS, _FLOATS, st.just({"int8": 3})),
    ]
    return st.one_of(kinds)


event_lists = st.lists(_events(), max_size=12)
