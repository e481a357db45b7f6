#!/bin/sh
# HAProxy's check: is this node in a group with a majority, with the role of the proxy's name? Only a
# primary can write. HAProxy passes names in the environment, and the node's port as its arguments.
[ "$(mariadb --defaults-extra-file=/run/users/monitor.cnf --host "$HAPROXY_SERVER_NAME" \
    --port "$4" --connect-timeout 1 --batch --skip-column-names --execute "
    SELECT m.member_state = 'ONLINE' AND m.member_role = UPPER('$HAPROXY_PROXY_NAME')
        AND (m.member_role = 'PRIMARY') <> @@super_read_only
        AND (SELECT SUM(member_state = 'UNREACHABLE') * 2 < COUNT(*)
             FROM performance_schema.replication_group_members)
    FROM performance_schema.replication_group_members AS m WHERE m.member_id = @@server_uuid")" = 1 ]
