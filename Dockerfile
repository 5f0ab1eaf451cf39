# One image for everything that runs: Beam's workers, the pool of workers on Flink, and the driver.
#
#   docker build --build-arg COMMIT="$(git rev-parse --short=12 HEAD)" \
#       --tag REGISTRY/aerial-deblur:0.1.0-cpu .                       # --build-arg TORCH=cu130: GPU
#   docker build ... --target dataflow --tag REGISTRY/aerial-deblur:0.1.0-dataflow .
#
# Python's minor version and Beam's version must be those of the machine that submits. See
# docs/deployment.md.
ARG PYTHON_VERSION=3.11
ARG BEAM_VERSION=2.77.0

FROM apache/beam_python${PYTHON_VERSION}_sdk:${BEAM_VERSION} AS beam

FROM python:${PYTHON_VERSION}-slim-bookworm AS wheel
# The commit becomes part of the version, as in a checkout, and so of the identity of every run.
ARG COMMIT
WORKDIR /source
COPY . .
RUN test -n "$COMMIT" \
    && printf '[egg_info]\ntag_build = +g%s\n' "$COMMIT" > setup.cfg \
    && pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON_VERSION}-slim-bookworm AS worker
# What the wheels of OpenCV (libgl1, libglib2.0-0) and rasterio (libexpat1) expect of the system.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libexpat1 libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

# cpu, or a CUDA version that the driver of the machines knows, such as cu130.
ARG TORCH=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/${TORCH}
COPY examples/docker/requirements.txt /opt/aerial-deblur/
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" \
    --requirement /opt/aerial-deblur/requirements.txt

COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir --no-deps /tmp/wheels/*.whl \
    && pip check

# One thread a process: processes do not crowd each other out, and results do not depend on their
# number. Nothing is downloaded while a job runs. Beam's entry point takes this Python, and makes no
# environment of its own. The last three are where Google's machines put the driver of a GPU, and
# NVIDIA's words for showing it to a container; without a GPU they mean nothing.
ENV PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    YOLO_OFFLINE=true \
    YOLO_AUTOINSTALL=false \
    YOLO_CONFIG_DIR=/tmp/ultralytics \
    MPLCONFIGDIR=/tmp/matplotlib \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

RUN useradd --uid 10001 --create-home worker
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY examples/docker/check_image.py /opt/aerial-deblur/
USER 10001
WORKDIR /home/worker
RUN python /opt/aerial-deblur/check_image.py "$TORCH"
ENTRYPOINT ["/opt/apache/beam/boot"]

# Dataflow mounts folders of root's, with which the entry point must be able to do what it likes.
FROM worker AS dataflow
# hadolint ignore=DL3002
USER 0

FROM worker
