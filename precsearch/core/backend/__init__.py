"""What precsearch needs of an inference engine, and what a backend says about itself."""

from precsearch.core.backend.facts import BackendFacts, BuildsAhead, facts_of
from precsearch.core.backend.protocol import (
    CPU_USE,
    GPU_USE,
    Array,
    Backend,
    BackendOptions,
    ChoosesFp32,
    ChoosesTactics,
    DeclaresUse,
    DeviceUse,
    Feed,
    Fingerprint,
    Fp32Mode,
    KeepsNotes,
    KernelTime,
    Session,
    fp32_words,
)
from precsearch.core.quantization import TYPED, TYPED_HALF, WEAK, GraphForm, QuantScheme

__all__ = [
    "CPU_USE",
    "GPU_USE",
    "TYPED",
    "TYPED_HALF",
    "WEAK",
    "Array",
    "Backend",
    "BackendFacts",
    "BackendOptions",
    "BuildsAhead",
    "ChoosesFp32",
    "ChoosesTactics",
    "DeclaresUse",
    "DeviceUse",
    "Feed",
    "Fingerprint",
    "Fp32Mode",
    "GraphForm",
    "KeepsNotes",
    "KernelTime",
    "QuantScheme",
    "Session",
    "facts_of",
    "fp32_words",
]
