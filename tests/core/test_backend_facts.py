"""What a backend declares about its engines, and how the plug-ins of the last release are read."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest

from precsearch.backends.fake import FakeBackend
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.backends.tensorrt.backend import TensorRtBackend
from precsearch.core.backend import BackendFacts, BackendOptions, facts_of
from precsearch.core.backend.facts import COMPILED
from precsearch.core.precision import Precision


class Old(OnnxRuntimeBackend):
    """A plug-in of the last release, on top of a backend of this one."""

    name = "old"
    compiles = True


class New(Old):
    """Its successor."""

    facts = BackendFacts(keep_artifacts=True)


def test_shipped_backends_declare_facts_and_no_warning_is_given() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = facts_of(TensorRtBackend(BackendOptions()))
        assert replace(facts, offered=frozenset()) == COMPILED
        assert facts.offered < TensorRtBackend.precisions
        assert facts_of(OnnxRuntimeBackend).artifact_is_model
        assert facts_of(FakeBackend(BackendOptions())) == BackendFacts()


def test_compiles_of_an_old_plug_in_is_read_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="'old' declares 'compiles'"):
        found = facts_of(Old(BackendOptions()))
    assert found.builds_are_expensive
    assert found.keep_artifacts
    assert not found.artifact_is_model
    assert found.trial_limit_s == 1800.0
    assert found.exporter == ""


def test_an_instance_may_declare_what_its_class_does_not() -> None:
    made = OnnxRuntimeBackend(BackendOptions())
    made.facts = BackendFacts(can_be_cut=True)
    assert facts_of(made).can_be_cut
    assert facts_of(New).keep_artifacts


def test_a_node_that_no_kernel_names_is_fp32_on_onnx_runtime_and_unknown_on_tensorrt() -> None:
    assert facts_of(OnnxRuntimeBackend).unlisted_node is Precision.FP32
    assert facts_of(TensorRtBackend).unlisted_node is None
