"""A backend without an engine, for tests of everything around one.

What each group costs and how much error it makes at which precision is planted in a `Landscape`,
and so are crashes, hangs and refusals. Everything is a function of the landscape and the model, so
that an engine measures the same wherever and whenever it runs.
"""

from precsearch.backends.fake.engine import (
    FakeBackend,
    FakeLowered,
    FakeSession,
    fake_lower,
    fake_reference,
)
from precsearch.backends.fake.landscape import Cost, Fault, Landscape, Pair

__all__ = [
    "Cost",
    "FakeBackend",
    "FakeLowered",
    "FakeSession",
    "Fault",
    "Landscape",
    "Pair",
    "fake_lower",
    "fake_reference",
]
