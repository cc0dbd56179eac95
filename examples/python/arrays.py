"""From arrays in memory to a plan and a faster model."""

import numpy as np

import precsearch

with np.load("data.npz") as archive:
    images = archive["x"]

result = precsearch.optimize("model.onnx", images, tol=0.3, max_builds=4)
print(result)  # <Result: 1.86x FP32's speed (1.83 to 1.89), off by …>
for trial in result.front:  # engines that no other beats in both loss and latency
    print(f"{trial.seconds} s, loss {trial.loss}, {dict(trial.counts)}")
for group in result.plan.evidence.groups:
    print(group.key, group.reason)
result.save("fast.onnx")
