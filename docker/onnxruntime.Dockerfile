# precsearch with ONNX Runtime on a CPU:  docker build -f docker/onnxruntime.Dockerfile -t precsearch .
# (Not built by this repository's checks, which have no Docker.)
FROM python:3.12-slim
COPY . /src
RUN pip install --no-cache-dir --constraint /src/precsearch/constraints.txt '/src[report]' && rm -rf /src
WORKDIR /work
ENTRYPOINT ["precsearch"]
