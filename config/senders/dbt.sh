#!/bin/sh
# dbt with its results posted to Watchkeeper; the exit status is dbt's own, whatever becomes of the post.
#
#   dbt.sh build --select tag:finance
#
# WATCHKEEPER_URL (default http://127.0.0.1:9095), WATCHKEEPER_TOKEN, WATCHKEEPER_HOOK (the source's name, default dbt),
# WATCHKEEPER_QUERY (such as "?project=shop&owner=data"), DBT_TARGET_PATH (default target).
: "${WATCHKEEPER_URL:=http://127.0.0.1:9095}" "${WATCHKEEPER_TOKEN:=}" "${WATCHKEEPER_HOOK:=dbt}" "${WATCHKEEPER_QUERY:=}"
target=${DBT_TARGET_PATH:-target}
# A run that ends before it began leaves the results of the one before where they are.
rm -f "$target/run_results.json" "$target/sources.json"
dbt "$@"
status=$?

post() { # SOURCE FILE
    curl --silent --show-error --fail-with-body --output /dev/null --max-time 15 \
        --retry 5 --retry-all-errors --retry-max-time 60 \
        --header "Authorization: Bearer $WATCHKEEPER_TOKEN" --header "Content-Type: application/json" \
        --data-binary @"$2" "$WATCHKEEPER_URL/hooks/$1" || echo "watchkeeper: the results were not delivered" >&2
}

for results in "$target/run_results.json" "$target/sources.json"; do
    if [ -s "$results" ]; then
        post "$WATCHKEEPER_HOOK$WATCHKEEPER_QUERY" "$results"
    fi
done
# That dbt itself ran is a check of its own: an error that left no results would be seen by nobody, nor would one of which no result
# tells, as of a source whose freshness could not be asked for: dbt leaves that one out.
told='"status": *"(fail|error|runtime error|partial success)"'
result=pass
if [ "$status" -ge 2 ] || { [ "$status" -ne 0 ] && ! grep -Eqs "$told" "$target/run_results.json" "$target/sources.json"; }; then
    result=error
fi
body=$(mktemp)
printf '{"version":"1","source":"dbt","checks":[{"check_id":"dbt.%s","status":"%s","message":"exit status %s",
"subject":{"kind":"pipeline","name":"%s"}}]}' "$1" "$result" "$status" "$(basename "$PWD")" >"$body"
post check "$body"
rm -f "$body"
exit "$status"
