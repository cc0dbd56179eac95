"""ONNX Runtime with FP8 beside INT8, on made-up times: both are always faster than FP32."""

from __future__ import annotations

from dataclasses import replace

from precsearch.core.backend import BackendOptions, GraphForm, QuantScheme
from precsearch.core.precision import Precision
from tests.e2e.plugins.clocked_backend import Clocked
from tests.lowering.test_fp8 import BOTH, FORM


class WithFp8(Clocked):
    name, form = "with-fp8", FORM
    precisions = frozenset({Precision.FP32, Precision.FP8, Precision.INT8})
    facts = replace(Clocked.facts, offered=frozenset())

    def __init__(self, options: BackendOptions) -> None:
        super().__init__(options)
        self.scheme = BOTH

    def form_named(self, name: str) -> GraphForm:
        return FORM

    def scheme_named(self, name: str) -> QuantScheme:
        return BOTH
