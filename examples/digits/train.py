"""Trains the digits example: a small residual CNN, written to ONNX node by node.

Run it where PyTorch, onnx, onnxruntime and scikit-learn are installed::

    python train.py --seed 0 --out .

It writes ``model.onnx`` (opset 17; BatchNormalization nodes are kept, so there is something left
to fuse), ``data.npz`` (calibration and search) and ``holdout.npz``. One description of the network,
`architecture`, drives both the PyTorch forward pass and the ONNX graph, so the two cannot differ.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Weights = dict[str, Any]  # name -> torch.Tensor

SIZE = 32
GREY = 16  # the source's pixels are integers 0..16
LEVELS = 8  # ours are multiples of 1/8 between 0 and 1
CLASSES = 10
DATA_SAMPLES = 300
HOLDOUT_SAMPLES = 400
SPLIT_SEED = 20240  # the split is part of the example: --seed does not move it
BN_EPSILON = 1e-5
NORM_PARTS = ("scale", "bias", "mean", "var")
BATCH = 64


@dataclass(frozen=True)
class Op:
    """One node of the network; its name is also the name of the tensor it produces.

    Attributes:
        kind: The ONNX operator.
        name: The node's name.
        inputs: The names of the tensors it reads.
        channels: Channels it reads and channels it produces (Conv, BatchNormalization, Gemm).
        kernel: Side of the kernel (Conv, MaxPool).
        stride: Step of the kernel (Conv, MaxPool).
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    channels: tuple[int, int] = (0, 0)
    kernel: int = 1
    stride: int = 1


def conv_bn(
    name: str, source: str, channels: tuple[int, int], kernel: int, stride: int
) -> list[Op]:
    """A convolution without bias and the batch normalization behind it (``name`` + ``_bn``)."""
    width = channels[1]
    return [
        Op("Conv", name, (source,), channels, kernel, stride),
        Op("BatchNormalization", f"{name}_bn", (name,), (width, width)),
    ]


def residual_block(name: str, source: str, channels: tuple[int, int], stride: int) -> list[Op]:
    """Two 3x3 convolutions around a shortcut, which is projected where the shape changes."""
    width = channels[1]
    ops = conv_bn(f"{name}/conv1", source, channels, 3, stride)
    ops.append(Op("Relu", f"{name}/relu1", (f"{name}/conv1_bn",)))
    ops += conv_bn(f"{name}/conv2", f"{name}/relu1", (width, width), 3, 1)
    shortcut = source
    if stride != 1 or channels[0] != width:
        ops += conv_bn(f"{name}/shortcut", source, channels, 1, stride)
        shortcut = f"{name}/shortcut_bn"
    ops.append(Op("Add", f"{name}/add", (f"{name}/conv2_bn", shortcut)))
    ops.append(Op("Relu", f"{name}/relu2", (f"{name}/add",)))
    return ops


def architecture() -> list[Op]:
    """The network in topological order: stem, three residual stages, a two-scale head."""
    ops = conv_bn("stem/conv", "image", (1, 32), 3, 1)
    ops.append(Op("Relu", "stem/relu", ("stem/conv_bn",)))
    ops += residual_block("stage1/block1", "stem/relu", (32, 32), 1)
    ops += residual_block("stage1/block2", "stage1/block1/relu2", (32, 32), 1)
    ops += residual_block("stage1/block3", "stage1/block2/relu2", (32, 32), 1)
    ops += residual_block("stage1/block4", "stage1/block3/relu2", (32, 32), 1)
    ops += residual_block("stage2/block1", "stage1/block4/relu2", (32, 48), 2)
    ops += residual_block("stage3/block1", "stage2/block1/relu2", (48, 64), 2)
    scales = ("head/pool", "stage3/block1/relu2")
    ops.append(Op("MaxPool", "head/pool", ("stage2/block1/relu2",), kernel=2, stride=2))
    ops.append(Op("Concat", "head/concat", scales))
    ops += conv_bn("head/mix", "head/concat", (48 + 64, 64), 1, 1)
    ops.append(Op("Relu", "head/relu", ("head/mix_bn",)))
    ops.append(Op("GlobalAveragePool", "head/average", ("head/relu",)))
    ops.append(Op("Flatten", "head/flatten", ("head/average",)))
    ops.append(Op("Gemm", "logits", ("head/flatten",), (64, CLASSES)))
    return ops


def upsample(images: FloatArray) -> FloatArray:
    """Bilinear 8x8 to 32x32 (half-pixel centres), from 0..16 to 0..1 in few grey levels.

    The rounding costs nothing that a digit needs, and lets the stored samples compress well.
    """
    side = images.shape[-1]
    position = np.clip((np.arange(SIZE) + 0.5) * side / SIZE - 0.5, 0, side - 1)
    low = np.minimum(position.astype(np.int64), side - 2)
    mix = np.zeros((SIZE, side))
    mix[np.arange(SIZE), low] = 1 - (position - low)
    mix[np.arange(SIZE), low + 1] = position - low
    large = np.round(mix @ images @ mix.T * (LEVELS / GREY)) / LEVELS
    result: FloatArray = large[:, None].astype(np.float32)
    return result


def load_splits() -> dict[str, tuple[FloatArray, IntArray]]:
    """The digits as disjoint ``train``, ``data`` and ``holdout`` parts, always the same ones."""
    digits = load_digits()
    order = np.random.RandomState(SPLIT_SEED).permutation(len(digits.target))
    images = upsample(digits.images)[order]
    labels = digits.target.astype(np.int64)[order]
    ends = [0, DATA_SAMPLES, DATA_SAMPLES + HOLDOUT_SAMPLES, len(order)]
    spans = zip(("data", "holdout", "train"), ends[:-1], ends[1:], strict=True)
    return {name: (images[start:end], labels[start:end]) for name, start, end in spans}


def initial_weights(ops: list[Op]) -> Weights:
    """Kaiming-initialized weights, and batch normalization that starts as the identity."""
    weights: Weights = {}
    for op in ops:
        read, made = op.channels
        if op.kind == "Conv":
            spread = (2.0 / (made * op.kernel**2)) ** 0.5
            weights[f"{op.name}.weight"] = torch.randn(made, read, op.kernel, op.kernel) * spread
        elif op.kind == "Gemm":
            weights[f"{op.name}.weight"] = torch.randn(made, read) * (1.0 / read) ** 0.5
            weights[f"{op.name}.bias"] = torch.zeros(made)
        elif op.kind == "BatchNormalization":
            weights[f"{op.name}.scale"] = torch.ones(made)
            weights[f"{op.name}.bias"] = torch.zeros(made)
            weights[f"{op.name}.mean"] = torch.zeros(made)
            weights[f"{op.name}.var"] = torch.ones(made)
    return weights


def is_trained(name: str) -> bool:
    """Whether gradient descent moves this weight: not the running statistics."""
    return not name.endswith((".mean", ".var"))


def apply(op: Op, inputs: list[Any], weights: Weights, training: bool) -> Any:  # noqa: ANN401
    """One node in PyTorch, with ONNX's meaning."""
    first = inputs[0]
    if op.kind == "Conv":
        weight = weights[f"{op.name}.weight"]
        return F.conv2d(first, weight, stride=op.stride, padding=op.kernel // 2)
    if op.kind == "BatchNormalization":
        scale, bias, mean, var = (weights[f"{op.name}.{part}"] for part in NORM_PARTS)
        return F.batch_norm(first, mean, var, scale, bias, training, 0.1, BN_EPSILON)
    if op.kind == "Gemm":
        return F.linear(first, weights[f"{op.name}.weight"], weights[f"{op.name}.bias"])
    if op.kind == "Relu":
        return torch.relu(first)
    if op.kind == "Add":
        return first + inputs[1]
    if op.kind == "Concat":
        return torch.cat(inputs, dim=1)
    if op.kind == "MaxPool":
        return F.max_pool2d(first, op.kernel, op.stride)
    if op.kind == "GlobalAveragePool":
        return first.mean(dim=(2, 3), keepdim=True)
    if op.kind == "Flatten":
        return first.flatten(1)
    raise ValueError(f"{op.name}: no PyTorch form for {op.kind}; add one here and in to_node")


def forward(ops: list[Op], weights: Weights, image: Any, training: bool) -> Any:  # noqa: ANN401
    """The logits of a batch of images."""
    values = {"image": image}
    for op in ops:
        values[op.name] = apply(op, [values[name] for name in op.inputs], weights, training)
    return values[ops[-1].name]


def shifted(images: Any) -> Any:  # noqa: ANN401
    """The batch with each image moved by up to two pixels either way: the only augmentation."""
    padded = F.pad(images, (2, 2, 2, 2))
    moves = torch.randint(0, 5, (len(images), 2)).tolist()
    parts = [padded[i, :, y : y + SIZE, x : x + SIZE] for i, (y, x) in enumerate(moves)]
    return torch.stack(parts)


def train(ops: list[Op], images: FloatArray, labels: IntArray, epochs: int) -> Weights:
    """SGD on cross-entropy with a one-cycle learning rate; returns the trained weights."""
    weights = initial_weights(ops)
    trained = [value.requires_grad_() for name, value in weights.items() if is_trained(name)]
    optimizer = torch.optim.SGD(trained, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = len(labels) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * steps)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(y))[: steps * BATCH].split(BATCH):
            loss = F.cross_entropy(forward(ops, weights, shifted(x[chosen]), True), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2d}/{epochs}  loss {total / steps:.4f}", flush=True)
    return {name: value.detach() for name, value in weights.items()}


def to_node(op: Op) -> onnx.NodeProto:
    """One node in ONNX; its weights are the initializers that `to_model` adds."""
    names = list(op.inputs)
    attributes: dict[str, Any] = {}
    if op.kind == "Conv":
        names.append(f"{op.name}.weight")
        attributes["pads"] = [op.kernel // 2] * 4
    elif op.kind == "BatchNormalization":
        names += [f"{op.name}.{part}" for part in NORM_PARTS]
        attributes["epsilon"] = BN_EPSILON
    elif op.kind == "Gemm":
        names += [f"{op.name}.weight", f"{op.name}.bias"]
        attributes["transB"] = 1
    elif op.kind in ("Concat", "Flatten"):
        attributes["axis"] = 1
    if op.kind in ("Conv", "MaxPool"):
        attributes["kernel_shape"] = [op.kernel, op.kernel]
        attributes["strides"] = [op.stride, op.stride]
    return helper.make_node(op.kind, names, [op.name], name=op.name, **attributes)


def to_model(ops: list[Op], weights: Weights) -> onnx.ModelProto:
    """The trained network as a checked ONNX model with a dynamic batch."""
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        [to_node(op) for op in ops],
        "digits",
        [helper.make_tensor_value_info("image", floats, ["batch", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", floats, ["batch", CLASSES])],
        [numpy_helper.from_array(value.numpy(), name) for name, value in weights.items()],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], producer_name="precsearch-digits")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def check(path: Path, expected: FloatArray, images: FloatArray, labels: IntArray) -> float:
    """Holdout top-1 of the written model, which must agree with PyTorch."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = np.asarray(session.run(["logits"], {"image": images})[0])
    if not np.allclose(logits, expected, rtol=1e-3, atol=1e-3):
        raise RuntimeError(f"{path}: ONNX Runtime and PyTorch disagree; was train.py changed?")
    return float((logits.argmax(1) == labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the digits example and write its files.")
    parser.add_argument("--seed", type=int, default=0, help="of initialization and batches")
    parser.add_argument("--epochs", type=int, default=25, help="passes over the training part")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the three files")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(2)  # sums depend on how they are split, so the count is fixed
    ops, splits = architecture(), load_splits()
    weights = train(ops, *splits["train"], arguments.epochs)

    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "model.onnx"
    onnx.save(to_model(ops, weights), path)
    for name in ("data", "holdout"):
        images, labels = splits[name]
        np.savez_compressed(arguments.out / f"{name}.npz", image=images, labels=labels)
    images, labels = splits["holdout"]
    expected = forward(ops, weights, torch.from_numpy(images), False).numpy()
    print(f"holdout top-1 {check(path, expected, images, labels):.4f}")


if __name__ == "__main__":
    main()
