# Training on NVIDIA GPUs: LLaMA-Factory with llamafactory_ext. From the repository's root:
#   docker build -f docker/train.Dockerfile -t llamafactory_ext:train .
#   docker run --rm --gpus all --ipc host -v "$PWD/saves:/llamafactory/saves" -v "$HOME/.cache/huggingface:/models" \
#       llamafactory_ext:train train examples/yaml/citi_llama3.yaml
FROM pytorch/pytorch:2.8.0-cuda12.6-cudnn9-devel

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 HF_HOME=/models
COPY . /src
# torch, torchvision and torchaudio are the image's and stay as they are.
RUN pip install --no-cache-dir "/src[train]" \
    && useradd --create-home --uid 10001 trainer \
    && install --directory --owner trainer /llamafactory /llamafactory/saves /models
USER 10001
WORKDIR /llamafactory
RUN llamafactory-ext examples --out .
ENTRYPOINT ["llamafactory-cli"]
CMD ["train", "examples/yaml/citi_tiny.yaml"]
