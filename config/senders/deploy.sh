#!/bin/sh
# A deployment, told to Watchkeeper when it begins and when it has ended; the exit status is that of the deployment, whatever becomes of
# the posts, and it waits for none before it begins.
#
#   deploy.sh --service checkout --environment production --version 1.4.2 -- ./roll-out.sh --fast
#   deploy.sh --service checkout --kind configuration --summary "new tax rules"      # done already: no command
#
# Options: --service, --environment, --version, --kind (default deployment), --summary, --url, --by (default $USER), --id (default: made of
# these and the time), --status (of what is done already, default succeeded).
# WATCHKEEPER_URL (default http://127.0.0.1:9095), WATCHKEEPER_TOKEN, WATCHKEEPER_HOOK (the source's name, default change).
: "${WATCHKEEPER_URL:=http://127.0.0.1:9095}" "${WATCHKEEPER_TOKEN:=}" "${WATCHKEEPER_HOOK:=change}"
service='' environment='' version='' kind=deployment summary='' url='' by=${USER:-} id='' status=succeeded
while [ $# -gt 0 ]; do
    case $1 in
        --) shift; break ;;
        --service | --environment | --version | --kind | --summary | --url | --by | --id | --status)
            if [ $# -lt 2 ]; then
                echo "deploy.sh: $1 wants a value" >&2
                exit 2
            fi
            case $1 in
                --service) service=$2 ;;
                --environment) environment=$2 ;;
                --version) version=$2 ;;
                --kind) kind=$2 ;;
                --summary) summary=$2 ;;
                --url) url=$2 ;;
                --by) by=$2 ;;
                --id) id=$2 ;;
                --status) status=$2 ;;
            esac
            shift 2
            ;;
        *) echo "deploy.sh: \"$1\" is no option; a command stands after --" >&2; exit 2 ;;
    esac
done

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
: "${id:=$service $environment $version $(now) $$}"

# One field of the body, where there is something to say.
field() { # NAME VALUE
    if [ -n "$2" ]; then
        printf ',"%s":"%s"' "$1" "$(printf %s "$2" | tr '\n\r\t' '   ' | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')"
    fi
}

post() { # STATUS AT
    body=$(
        printf '{"status":"%s"' "$1"
        field at "$2"; field id "$id"; field kind "$kind"; field service "$service"; field environment "$environment"
        field version "$version"; field summary "$summary"; field url "$url"; field by "$by"
        printf '}'
    )
    printf %s "$body" | curl --silent --show-error --fail-with-body --output /dev/null --max-time 10 \
        --retry 4 --retry-all-errors --retry-max-time 60 \
        --header "Authorization: Bearer $WATCHKEEPER_TOKEN" --header "Content-Type: application/json" \
        --data-binary @- "$WATCHKEEPER_URL/hooks/$WATCHKEEPER_HOOK" ||
        echo "watchkeeper: the change was not delivered" >&2
}

if [ $# -eq 0 ]; then
    post "$status" "$(now)"
    exit 0
fi
post in_progress "$(now)" &
# What ends the deployment does not end this before it has said so.
trap : INT TERM
"$@"
ended=$?
case $ended in
    0) status=succeeded ;;
    130 | 143) status=cancelled ;;
    *) status=failed ;;
esac
post "$status" "$(now)"
wait
exit "$ended"
