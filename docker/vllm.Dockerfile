# Serving a model that `llamafactory-cli export` wrote. From the repository's root:
#   docker build -f docker/vllm.Dockerfile -t llamafactory_ext:vllm .
#   docker run --rm --gpus all --ipc host -p 127.0.0.1:8000:8000 -v "$PWD/export_dir:/model:ro" llamafactory_ext:vllm /model
FROM vllm/vllm-openai:v0.32.0

COPY . /src
# Brings what vLLM's image has not (PEFT); torch and transformers are the image's and stay as they are.
RUN pip install --no-cache-dir /src
ENTRYPOINT ["vllm", "serve"]
CMD ["/model"]
