# precsearch with TensorRT; run it with --gpus all:  docker build -f docker/tensorrt.Dockerfile -t precsearch .
# The tensorrt wheels bring their CUDA libraries; the driver comes from the host.
# (Not built by this repository's checks, which have no Docker.)
FROM python:3.12-slim
COPY . /src
RUN pip install --no-cache-dir --constraint /src/precsearch/constraints.txt '/src[report,tensorrt]' && rm -rf /src
WORKDIR /work
ENTRYPOINT ["precsearch"]
