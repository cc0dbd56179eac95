# A detector, judged by its boxes; no labels.
precsearch optimize detector.onnx --data scenes.npz --metric box-agreement --tol 0.5 --max-builds 2
