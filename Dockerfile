# docker build -t isdu-bids .
# Arguments: TORCH=cpu|cuda, SYNTHSEG=0|1 and TEMPLATE=0|1 (docs/containers.md).
ARG BASE=python:3.11-slim-bookworm
ARG VERSION=0.1.0

FROM $BASE AS build
WORKDIR /src

# Dependencies and weights change less often than the code: each has a layer of its own.
ARG TORCH=cpu
ARG TEMPLATE=0
COPY docker/install.sh docker/requirements.txt docker/requirements-template.txt docker/
RUN docker/install.sh dependencies

ARG SYNTHSEG=0
COPY docker/fetch.py docker/
RUN docker/install.sh data

COPY LICENSE README.md pyproject.toml ./
COPY isdu_bids isdu_bids
ARG VERSION
RUN docker/install.sh app


FROM $BASE
COPY --from=build /opt/isdu-bids /opt/isdu-bids

ARG VERSION
# HOME: a user id without a passwd entry would get /, which is not writable.
# NUMBA_*: code compiled when the image was built, for any processor.
# NVIDIA_*: the host's driver is enough for a GPU; the CUDA libraries come with torch.
# ISDU_BIDS_CONTAINER_*: what results say of the container that made them.
# IS_DOCKER_8395080871: how BIDS Apps recognise that they run in a container.
ENV PATH=/opt/isdu-bids/bin:$PATH \
    HOME=/tmp \
    NUMBA_CACHE_DIR=/opt/isdu-bids/share/numba \
    NUMBA_CPU_NAME=generic \
    FREESURFER_HOME=/opt/isdu-bids/share/freesurfer \
    TEMPLATEFLOW_HOME=/opt/isdu-bids/share/templateflow \
    ISDU_BIDS_CONTAINER_TYPE=docker \
    ISDU_BIDS_CONTAINER_TAG=isdu-bids:$VERSION \
    IS_DOCKER_8395080871=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The default work folder is ./work.
WORKDIR /tmp
ENTRYPOINT ["/opt/isdu-bids/bin/isdu-bids"]

ARG BASE
ARG BUILD_DATE
ARG VCS_REF
LABEL org.opencontainers.image.title="isdu-bids" \
      org.opencontainers.image.description="Quantitative susceptibility mapping as a BIDS App" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="$BASE" \
      org.opencontainers.image.created="$BUILD_DATE" \
      org.opencontainers.image.revision="$VCS_REF" \
      org.opencontainers.image.version="$VERSION"
