#!/bin/sh
# HAProxy's check: is the node at this address the primary of a group with a majority?
# HAProxy passes its own address and port first. The nodes' certificates are their own, unsigned.
[ "$(mariadb --defaults-extra-file=/run/users/monitor.cnf --host "$3" --port "$4" \
    --skip-ssl-verify-server-cert --connect-timeout 1 --batch --skip-column-names --execute "
    SELECT m.member_state = 'ONLINE' AND m.member_role = 'PRIMARY' AND NOT @@super_read_only
        AND (SELECT SUM(member_state = 'UNREACHABLE') * 2 < COUNT(*)
             FROM performance_schema.replication_group_members)
    FROM performance_schema.replication_group_members AS m WHERE m.member_id = @@server_uuid")" = 1 ]
