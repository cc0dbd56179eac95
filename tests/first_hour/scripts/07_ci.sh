# A gate for CI: the plan builds byte for byte, within its bound; a bound that is too tight fails.
precsearch build classifier.plan.json -o built.onnx
precsearch verify classifier.plan.json --data images.npz --max-size 1MB || test $? -eq 4
if precsearch verify classifier.plan.json --data images.npz --tol 1e-9; then exit 1; else test $? -eq 4; fi
if precsearch verify classifier.plan.json --data images.npz --max-size 1kB; then exit 1; else test $? -eq 4; fi
