# A text recognizer, judged by the text that it reads; no labels.
precsearch optimize ocr.onnx --data lines.npz --metric edit-distance --tol 0.3 --max-builds 2
