#!/bin/sh
# A client in curl (7.84 or newer): adds a user, renames it, lists all users and removes it again.
# Usage: examples/curl.sh [http://127.0.0.1:5000]
set -eu

api=${1:-http://127.0.0.1:5000}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# call HEADER ADDRESS OPTION...: print the answer; what its header says is in $found.
call() {
    header=$1 address=$2
    shift 2
    found=$(curl --silent --show-error --fail-with-body "$@" \
        --output "$answer" --write-out "%header{$header}" "$api$address") || {
        cat "$answer" >&2
        exit 1
    }
    cat "$answer"
}

# With a key, a request whose answer was lost is sent again without harm, as --retry does.
number=$(date +%s)-$$
call location /users --retry 5 --retry-connrefused --header "Idempotency-Key: example-$number" \
    --json "{\"username\": \"Ada\", \"email\": \"ada-$number@example.com\"}"
user=$found

# With the tag of what was read, the change is made only if there was no other since; else 412.
call etag "$user"
call etag "$user" --request PATCH --header "If-Match: $found" --json '{"username": "Ada Lovelace"}'

# Each page leads to the next one, by an absolute URL.
page='/users?limit=100'
while [ -n "$page" ]; do
    call link "$page"
    page=$(printf %s "$found" | sed -n 's#^<[a-z]*://[^/]*\(.*\)>; rel="next"$#\1#p')
done

call etag "$user" --request DELETE
