#!/bin/sh
# Writes which origins' pages may read nginx's own answers, from CORS_ORIGINS: origins with spaces
# between. The application checks them too, and says more of what is wrong; here, nothing may pass
# that nginx would take as its own language.
set -euf

file=${1:-/tmp/cors_origins.conf}
label='[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?'
host="($label(\.$label)*|\[[0-9a-f:.]+\])"

for origin in ${CORS_ORIGINS:-}; do
    printf '%s' "$origin" | LC_ALL=C grep -Eqx "https?://$host(:[1-9][0-9]{0,4})?" || {
        printf "CORS_ORIGINS: '%s' is no origin, such as https://client.example.\n" "$origin" >&2
        exit 1
    }
done

origins=$(printf '%s\n' ${CORS_ORIGINS:-} | sort -u)  # nginx refuses a repeated one
{
    echo 'map $http_origin $listed_origin {'
    echo '    default "";'
    for origin in $origins; do
        echo "    \"$origin\" \"$origin\";"
    done
    echo '}'
    echo "map \"\" \$varies { default \"${origins:+Origin}\"; }"
} >"$file"
