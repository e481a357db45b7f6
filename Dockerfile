# The service's image (the last stage, which `docker build .` makes) and those of development.

# Of what the service is made of, only these stages reach the network. Every file is checked against
# its hash in the lock; what has no wheel is built here, so that no build tool comes further.
FROM python:3.13-slim AS wheels
COPY requirements.txt .
RUN pip wheel --no-cache-dir --use-pep517 --no-deps --require-hashes --wheel-dir /wheels -r requirements.txt

FROM python:3.13-slim AS development-wheels
COPY requirements-dev.txt .
# The tests and their coverage run in the container; linters and browsers stay outside.
RUN awk '/^[a-z]/ { wanted = /^coverage==/ } wanted' requirements-dev.txt >coverage.txt \
    && pip wheel --no-cache-dir --no-deps --require-hashes --wheel-dir /wheels -r coverage.txt


FROM python:3.13-slim AS runtime
# Output reaches the log at once, nothing tries to write bytecode beside the code, and gunicorn
# listens to the other containers.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 BIND=0.0.0.0:5000
# What a password's hash takes, 19 MB, goes back when it is done. glibc would keep it for each thread
# that has hashed once: after 120 sign-ins, six workers had 626 MB instead of 284.
ENV MALLOC_MMAP_THRESHOLD_=1048576
# The number is fixed: the secrets' files are given to it (docker-compose-prod.yml).
RUN groupadd --gid 10001 service && useradd --uid 10001 --gid service --no-create-home service
WORKDIR /app
# The requirements come before the code: a change of the code leaves this layer as it is. Mounted,
# the wheels themselves take no room in the image.
RUN --network=none --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps /wheels/*.whl
EXPOSE 5000
# A live process is healthy: with the database away it still answers, and a restart would not help.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s \
    CMD ["python", "-c", "from http.client import HTTPConnection; c = HTTPConnection('127.0.0.1', 5000, timeout=2); c.request('GET', '/health/live'); assert c.getresponse().status == 200"]


# The code is not in this image: docker-compose.yml mounts the working copy.
FROM runtime AS development
RUN --network=none --mount=type=bind,from=development-wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps /wheels/*.whl
COPY docker/as-owner.sh /usr/local/bin/
ENTRYPOINT ["as-owner.sh"]


# What an editor works in (.devcontainer/). The number of the user becomes that of the developer.
FROM development AS devcontainer
RUN apt-get update \
    && apt-get install -y --no-install-recommends git make openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home --shell /bin/bash developer


FROM runtime AS production
# Owned by root, so that the service cannot change its own code.
COPY manage.py gunicorn.conf.py pyproject.toml ./
COPY migrations migrations
COPY project project
# A read-only container can keep no bytecode; without it each start would compile everything.
RUN python -m compileall -q .
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
CMD ["gunicorn", "manage:app"]
