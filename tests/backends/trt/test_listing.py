"""Engine layers are read from the log of a builder whose engines cannot be opened."""

from __future__ import annotations

from precsearch.backends.tensorrt.achieved import products_ran
from precsearch.backends.tensorrt.listing import is_layer, listing_digest, read_listing
from precsearch.backends.tensorrt.logger import Lines
from precsearch.core.precision import Precision


def tensor(name: str, dims: str, dtype: str) -> str:
    strides = "Strides: [1], StrideOrder: [0]"
    layout = "Format: (NHWC) Channel major format"
    return f"{{ Name: {name}, Dimensions: [{dims}], {strides}, Datatype: {dtype}, {layout} }}"


def line(
    name: str, kind: str, reads: str, keeps: list[str], writes: str, tactic: str, *nodes: str
) -> str:
    """As TensorRT-RTX 1.7.1 writes it; without constants, it has no list of them."""
    constants = f" Constants: [ {', '.join(keeps)}]," if keeps else ""
    metadata = "".join(f"[ONNX Layer: {n}]" for n in nodes)
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {reads}],{constants} Outputs: [ {writes}], "
        f"TacticName: {tactic}, StreamId: 0, Metadata: {metadata}"
    )


WEIGHT, BIAS = tensor("__mye1392", "8,4,3,3", "Int8"), tensor("__mye1329", "1,8,1,1", "Float")
CONV = line(
    "t1_myl0_1",
    "correlation",
    tensor("__mye1002t1//half_before_bias.1_2_myl0", "2,4,8,8", "Int8"),
    [BIAS, WEIGHT],
    tensor("__myln", "2,8,8,8", "Float"),
    "__myelin_CASK_STUB",
    "t1",
    "in0//dqh//DequantizeLinear",
)
AFTER = line(
    "__myl_MulCast",
    "kgen",
    tensor("__myln", "2,8,8,8", "Float"),
    [tensor("__mye1444", "1", "Half")],
    tensor("t2", "2,8,8,8", "Half"),
    "__myl_MulCast_0xde61",
    "t1",
    "t2",
)
POOL = line(
    "t3_myl0_3",
    "maxpool",
    tensor("t2", "2,8,8,8", "Half"),
    [],
    tensor("t3", "2,8,4,4", "Half"),
    "pool",
    "t3",
)
LOG = ["Total Activation Memory: 0", CONV, AFTER, POOL, "Name: a, LayerType: signal, Inputs: [ ]"]


PRODUCTS = ("t1", "t9")


def test_each_layer_has_its_types_tactic_and_nodes() -> None:
    conv, after, pool = read_listing(LOG)
    assert (conv.kind, conv.tactic) == ("correlation", "__myelin_CASK_STUB")
    assert conv.nodes == ("t1", "in0//dqh//DequantizeLinear")
    assert (conv.inputs, conv.constants, conv.outputs) == (("int8",), ("float", "int8"), ("float",))
    assert (conv.precision, after.precision, pool.precision) == (
        Precision.INT8,
        None,  # of FP32 and FP16 tensors: which of its operators computes in which is not told
        Precision.FP16,
    )
    assert pool.constants == ()


def test_lines_that_are_not_layers_are_skipped() -> None:
    assert [is_layer(text) for text in LOG] == [False, True, True, True, True]
    lines = Lines()
    lines.add_layer("\n".join(LOG))
    assert lines.layers == LOG[1:]
    lines.clear()
    assert lines.layers == []


def test_the_digest_leaves_out_names_that_count_up() -> None:
    again = [text.replace("__mye1392", "__mye77").replace("t1_myl0_1", "t1_x") for text in LOG]
    other = [text.replace("Datatype: Half", "Datatype: Float") for text in LOG]
    assert listing_digest(read_listing(again)) == listing_digest(read_listing(LOG))
    assert listing_digest(read_listing(other)) != listing_digest(read_listing(LOG))


def test_a_product_ran_in_what_its_kernel_and_not_the_code_around_it_computes() -> None:
    assert products_ran(PRODUCTS, read_listing(LOG)) == {"t1": Precision.INT8}


def test_the_largest_matrix_is_the_weight_and_not_the_bias_of_what_is_fused_with_it() -> None:
    keeps = [tensor("b", "1,4096", "Half"), tensor("w", "64,32", "Float"), tensor("s", "1", "Half")]
    data = tensor("x", "4,64", "Float")
    text = line("m", "runtime_fusion", data, keeps, tensor("y", "4,32", "Half"), "k", "t9")
    assert products_ran(PRODUCTS, read_listing([text])) == {"t9": Precision.FP32}
    keeps[1] = tensor("w", "64,32", "Half")
    demoted = line("m", "runtime_fusion", data, keeps, tensor("y", "4,32", "Half"), "k", "t9")
    assert products_ran(PRODUCTS, read_listing([demoted])) == {"t9": Precision.FP16}
