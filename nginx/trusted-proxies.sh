#!/bin/sh
# Writes which proxies in front of nginx are believed about who called, and by which scheme, from
# TRUSTED_PROXIES: addresses and networks with spaces between. nginx would take names as well, and
# whatever else stands there as its own language, so all but addresses is refused here.
set -euf

file=${1:-/tmp/trusted_proxies.conf}
octet='(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
ipv4="$octet(\.$octet){3}(/([1-9]|[12][0-9]|3[0-2]))?"
ipv6='[0-9A-Fa-f:]*:[0-9A-Fa-f:]*(/([1-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?'

for proxy in ${TRUSTED_PROXIES:-}; do
    printf '%s' "$proxy" | grep -Eqx "$ipv4|$ipv6" || {
        echo "TRUSTED_PROXIES: '$proxy' is no address and no network, such as 10.0.0.0/8." >&2
        exit 1
    }
done

{
    for proxy in ${TRUSTED_PROXIES:-}; do
        echo "set_real_ip_from $proxy;"
    done
    echo 'geo $realip_remote_addr $is_trusted_proxy {'
    echo '    default 0;'
    for proxy in ${TRUSTED_PROXIES:-}; do
        echo "    $proxy 1;"
    done
    echo '}'
} >"$file"
