"""What ONNX Runtime's CPU provider gains from operators in INT8, one by one.

    python -m benchmarks.integer_operators [-o TABLE.md]

Each operator is timed with uint8 in and out (DequantizeLinear, operator, QuantizeLinear, which ONNX
Runtime fuses where it has a kernel) and with floats in and out, by turns in one process, one
thread. The least of 25 runs counts. *Error* is relative L2 of what the operator adds over inputs
that are rounded already.

Below that: four layers of Conv and SiLU with SiLU in floats and in INT8; a product of two
activations; and a product with weights whose activations are rounded by a range that is known, or
by the range of each inference (DynamicQuantizeLinear and MatMulInteger, ConvInteger).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.integer_operators.elementwise import one, operators, silu_layers
from benchmarks.integer_operators.products import convolution, factors, products
from benchmarks.integer_operators.small_models import RNG, SHAPE, opened, timed


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown."""
    return ["| " + " | ".join(r) + " |" for r in (heading, ["---"] * len(heading), *rows)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    heading = ("operator", "FP32, us", "INT8, us", "INT8 faster by", "error")
    lines = table(heading, [one(name) for name in operators()])
    x = RNG.normal(0, 1, SHAPE).astype(np.float32)
    floats, integers = timed([(opened(silu_layers(i)), {"x": x}) for i in (False, True)])
    lines += [
        "",
        f"Four layers of Conv and SiLU: SiLU in floats {floats:.0f} us, in INT8 {integers:.0f} us.",
        "",
    ]
    lines += table(
        ("product", "FP32, us", "INT8, us", "dynamic INT8, us"), [*products(), convolution()]
    )
    lines += ["", *table(("INT8 product", "alone, us", "with a Mul in front, us"), factors())]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.output is not None:
        given.output.write_text(text)


if __name__ == "__main__":
    main()
