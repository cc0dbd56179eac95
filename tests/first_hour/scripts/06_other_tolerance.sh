# A stricter bound from what an earlier run has measured, and two more bounds in one command.
precsearch optimize classifier.onnx --data images.npz --tol 0.1 --warm-start classifier.precsearch -o strict.plan.json
precsearch optimize classifier.onnx --data images.npz --tol 0.2,0.4 --warm-start strict.precsearch
ls strict.plan.json classifier.tol0.2.plan.json classifier.tol0.4.plan.json
