# The image: Springline in a virtual environment on Debian's slim Python, and nothing to build with.
#
#   make image
#
# Built again, it holds the same: versions are those of constraints.txt, dates are SOURCE_DATE_EPOCH, and
# the base can be named by its digest (BASE=python@sha256:…).
ARG BASE=python:3.13-slim-trixie
ARG BUILD_BASE=${BASE}


FROM ${BUILD_BASE} AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_COMPILE=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /source

# What Springline needs, before Springline itself: this layer is made anew only if that changes. Wheels
# alone, so that nothing is compiled and no package runs code of its own.
COPY pyproject.toml constraints.txt ./
RUN python -m venv /opt/pip \
    && python -m venv --without-pip /opt/springline \
    && python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" >requirements.txt \
    && /opt/pip/bin/pip --python /opt/springline/bin/python install \
        --constraint constraints.txt --requirement requirements.txt

COPY README.md LICENSE ./
COPY operator operator
# The compiled modules do not look at their sources any more, which is faster, and the file system of a
# container is read-only. Files bear one date.
ARG SOURCE_DATE_EPOCH=0
RUN /opt/pip/bin/pip install --constraint constraints.txt hatchling \
    && /opt/pip/bin/python -m hatchling build --target wheel --directory /wheel \
    && /opt/pip/bin/pip --python /opt/springline/bin/python install --no-deps /wheel/*.whl \
    && PYTHONHASHSEED=0 /opt/springline/bin/python -m compileall -q -j 0 \
        --invalidation-mode unchecked-hash /opt/springline/lib \
    && find /opt/springline -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +


FROM ${BASE}

ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="Springline" \
      org.opencontainers.image.description="A Kubernetes operator that keeps broker client connections" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /opt/springline /opt/springline

# A user by number, so that Kubernetes can see that it is not root. It may be any other: nothing is
# written, and the user needs no entry in /etc/passwd.
ENV PATH="/opt/springline/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    USER=springline
WORKDIR /
USER 65532:65532

# Health is asked for by Kubernetes, see charts/springline.
EXPOSE 8080
ENTRYPOINT ["springline"]
