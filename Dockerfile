# The reference service: web, worker and beat are one image with three commands (compose.yaml).
FROM python:3.12-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements requirements
# The build backend stays in an environment of its own; only what runs goes into the image.
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements/build.txt \
 && python -m venv /opt/venv \
 && /opt/venv/bin/pip install --require-hashes -r requirements/django52.txt -r requirements/service.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/venv/bin/pip install --no-deps dist/*.whl

FROM python:3.12-slim

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=e_commerce_api.settings \
    DATA_FOLDER=/srv/data
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin app \
 && install --directory --owner=app --mode=0700 /srv/data
WORKDIR /srv/app
COPY --from=build /opt/venv /opt/venv
COPY manage.py ./
COPY e_commerce_api e_commerce_api
COPY authentication authentication
USER app
VOLUME /srv/data
EXPOSE 8000
CMD ["gunicorn", "e_commerce_api.wsgi", "--bind=0.0.0.0:8000", "--workers=2", "--access-logfile=-"]
