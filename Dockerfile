# One image for the API and the worker; docker-compose.yml runs both, beside Label Studio and Redis.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /app

# Before the code, so that a change of the code does not install everything again.
COPY requirements.txt requirements-no-deps.txt ./
# The default index has PyTorch with 3 GB of libraries for GPUs. Without a GPU, give the index of builds for
# processors alone, which https://pytorch.org/get-started/locally names under "CPU":
#   docker compose build --build-arg TORCH_INDEX=…
ARG TORCH_INDEX=
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements.txt \
    && pip install --no-deps -r requirements-no-deps.txt

# The data folder belongs to the user before a volume is mounted there: a new volume takes this over.
RUN useradd --create-home --uid 1000 earmark \
    && mkdir /data \
    && chown earmark:earmark /data

COPY LICENSE NOTICE README.md pyproject.toml label_config.xml model.py _wsgi.py ./
COPY backend backend
COPY scripts scripts
RUN pip install --no-deps --editable .

USER earmark
ENV BIND=0.0.0.0 \
    PORT=9090 \
    DATA_DIR=/data
VOLUME /data
EXPOSE 9090

# Asks the API whether it answers; it is cheap there. The worker has a check of its own in docker-compose.yml.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=4)"]

CMD ["earmark", "serve"]
