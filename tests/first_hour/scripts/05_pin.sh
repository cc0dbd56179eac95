# The last layer stays in FP32, and the plan says why.
precsearch inspect classifier.onnx --pin 'op:Gemm=fp32'
precsearch optimize classifier.onnx --data images.npz --tol 0.5 --pin 'op:Gemm=fp32' --max-builds 2 -o pinned.plan.json
grep "kept in fp32 by '--pin op:Gemm=fp32'" pinned.*json
