# A model and a folder of photos become a plan and a faster model.
precsearch optimize classifier.onnx --data photos --preprocess resize=16,crop=16 --metric top1-agree --tol 0.2 \
    --max-builds 2 --artifact fast.onnx -o photos.plan.json
