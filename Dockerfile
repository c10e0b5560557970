# The image: Springline in a virtual environment on Debian's slim Python, and nothing that it does not use.
#
#   make image
#
# Built again, it is the same: versions are those of constraints.txt, dates are SOURCE_DATE_EPOCH, and the
# base can be named by its digest (BASE=python@sha256:…). The compiler is Debian's newest; BUILD_BASE names
# an image that has one, with the same Python, such as python:3.13-trixie, also by its digest.
ARG BASE=python:3.13-slim-trixie
ARG BUILD_BASE=${BASE}


FROM ${BUILD_BASE} AS build

# One library comes as source alone. Nothing is kept of this stage but /opt/springline.
RUN command -v cc >/dev/null \
    || { apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev; }

# The pip that installs is in an environment of its own.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/pip \
    && python -m venv --without-pip /opt/springline

WORKDIR /source

# What Springline needs, before Springline itself: this layer is made again only if that changes. The one
# library that is compiled finds neither Cyrus SASL nor OpenSSL, which are not used of it, and gets no
# symbols for debuggers, which name directories. No Python is compiled here; --no-compile has to be said like
# this, because PIP_NO_COMPILE=1 means the opposite.
COPY pyproject.toml constraints.txt ./
RUN /opt/pip/bin/pip install --constraint constraints.txt cffi hatchling setuptools \
    && PKG_CONFIG_PATH= PKG_CONFIG_LIBDIR=/dev/null CFLAGS=-g0 LDFLAGS=-s \
        /opt/pip/bin/pip wheel --no-build-isolation --no-deps --no-binary python-qpid-proton \
        --constraint constraints.txt --wheel-dir /wheels python-qpid-proton \
    && python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*project['dependencies'], *project['optional-dependencies']['amqp10'], sep='\n')" >requirements.txt \
    && /opt/pip/bin/pip --python /opt/springline/bin/python install --no-compile --find-links /wheels \
        --constraint constraints.txt --requirement requirements.txt

COPY README.md LICENSE ./
COPY operator operator
COPY image image
ARG SOURCE_DATE_EPOCH=0
RUN /opt/pip/bin/python -m hatchling build --target wheel --directory /wheel \
    && /opt/pip/bin/pip --python /opt/springline/bin/python install --no-compile --no-deps /wheel/*.whl \
    && python image/trim.py /opt/springline


# On the base itself, because it is the base's standard library that is compiled.
FROM ${BASE} AS compiled

COPY --from=build /opt/springline /opt/springline
COPY image/compile.py /
ARG SOURCE_DATE_EPOCH=0
RUN PYTHONHASHSEED=0 /opt/springline/bin/python -B compile.py /opt/springline /standard-library \
    && find /opt/springline /standard-library -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +


FROM ${BASE}

COPY --from=compiled /standard-library /
COPY --from=compiled /opt/springline /opt/springline

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
# Signals are held back until Springline listens: until then Python is starting, and the kernel drops
# what the first process of a container does not listen to.
ENTRYPOINT ["env", "--block-signal=TERM,INT,HUP", "springline"]

# Last, because they differ from one build to the next.
ARG VERSION=
ARG REVISION=
ARG CREATED=
ARG SOURCE=
ARG URL=${SOURCE}
LABEL org.opencontainers.image.title="Springline" \
      org.opencontainers.image.description="A Kubernetes operator that keeps broker client connections" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.url="${URL}"
