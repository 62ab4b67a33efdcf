#!/usr/bin/env bash
# Alerta on PostgreSQL, the peer of the durable-ingest bench.
#   alerta.sh install VENV_DIR
#   alerta.sh serve VENV_DIR DATABASE_URL PORT WORKERS
set -euo pipefail
# Everything that pip would choose, pinned, so that a run next year measures the same code. psycopg2-binary takes the
# place of the extra `postgres`, whose psycopg2 wants a compiler and libpq's headers.
PINS='alerta-server==9.1.0 gunicorn==27.0.1 psycopg2-binary==2.9.13 backports.zstd==1.8.0 bcrypt==5.0.0 blinker==1.9.0
brotli==1.2.1 certifi==2026.10.19.post1 cffi==2.1.1 charset-normalizer==3.5.3 click==8.5.1 cryptography==50.0.2
defusedxml==0.7.1 Flask==3.1.3 Flask-Compress==1.25 flask-cors==6.0.5 idna==3.20 itsdangerous==2.2.0 Jinja2==3.1.6
MarkupSafe==3.0.4 mohawk==1.1.0 pycparser==3.12 PyJWT==2.15.1 pyparsing==3.3.3 python-dateutil==4.0.0 pytz==2026.6
PyYAML==6.0.4 requests==2.34.2 requests-hawk==1.2.1 sentry-sdk==2.75.0 six==1.17.0 StrEnum==0.5.0 tzdata==2026.6
urllib3==2.8.0 Werkzeug==3.1.9'
case "${1-}" in
install)
    python3 -m venv "$2"
    # shellcheck disable=SC2086 # a list
    exec "$2/bin/pip" install --quiet --no-deps $PINS
    ;;
serve)
    # As it comes, with its default plugins.
    export DATABASE_URL=$3 AUTH_REQUIRED=false
    # --preload: the schema is made once; workers that make it at the same time fail on each other.
    # --timeout 0, --keep-alive: a server that the bench holds (SIGSTOP) is not to lose its workers and connections for it.
    # gthread: sync workers close the connection after each answer. 8 threads: each request opens its own connection to
    # PostgreSQL, so WORKERS * 8 has to stay below its max_connections, 100.
    exec "$2/bin/gunicorn" --bind "127.0.0.1:$4" --workers "$5" --worker-class gthread --threads 8 \
        --keep-alive 3600 --timeout 0 --preload alerta.app:create_app\(\)
    ;;
*) sed -n '2,4s/^# *//p' "$0" >&2; exit 2 ;;
esac
