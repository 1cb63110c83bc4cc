# The demo on a CPU, 11 minutes on two idle cores. From the repository's root:
#   docker build -f docker/demo.Dockerfile -t llamafactory_ext:demo .
#   docker run --rm -v "$PWD/runs:/llamafactory/runs" llamafactory_ext:demo
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu \
        torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0
COPY . /src
RUN pip install --no-cache-dir --constraint /src/constraints/train.txt "/src[train]" \
    && useradd --create-home --uid 10001 trainer \
    && install --directory --owner trainer /llamafactory /llamafactory/runs
USER 10001
WORKDIR /llamafactory
ENTRYPOINT ["llamafactory-ext"]
CMD ["lab", "demo", "--out", "runs/demo"]
