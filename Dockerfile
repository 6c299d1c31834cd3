# syntax=docker/dockerfile:1
# The checkout and its environment, for workers, runs and commands: see docs/deploy.md.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
# Other packages of the environment: prefect-kubernetes for a Kubernetes worker, prefect-aws for ECS, s3fs for exports.
ARG EXTRA=""
WORKDIR /opt/sku-velocity
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY pyproject.toml requirements.txt README.md LICENSE ./
# Only wheels: nothing is compiled, here or later. Editable, since deployments enter the checkout that is installed.
RUN mkdir sku_velocity && touch sku_velocity/__init__.py \
    && pip install --no-cache-dir --only-binary :all: --constraint requirements.txt hatchling editables \
    && pip install --no-cache-dir --only-binary :all: --constraint requirements.txt --no-build-isolation --editable . ${EXTRA}

FROM ${PYTHON}
# tini is process 1: it forwards SIGTERM to the command, and reaps the processes of ended runs.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin velocity
COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/sku-velocity
COPY . .
# The default directories of reports and exports: mount volumes here to keep them.
RUN install --directory --owner=velocity reports export
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can check that it is not root.
USER 10001
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "-m", "flows", "--help"]
