"""What a search would see, and where INT8 goes wrong, without building anything."""

import onnx

import precsearch

model = onnx.load("model.onnx")
found = precsearch.inspect(model, "data.npz", pin={"op:MatMul": "fp32"})
for group in found.space.free:
    print(group.key, group.kind, [str(choice) for choice in group.choices])

diagnosis = precsearch.diagnose(model, "data.npz", precision="int8")
for layer in diagnosis.worst_first()[:3]:
    print(layer.tensor, f"{layer.likeness.relative:.3g}")

try:
    precsearch.optimize(model, "data.npz", tol=-1.0)
except precsearch.OptionError as error:
    print(error)
