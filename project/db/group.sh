#!/bin/sh
# Keeps the group of the three nodes together: a node that stands outside joins, and when there is
# no group, all three found it again, on the one that has every transaction. A loop, once a second.
set -u

nodes="db1 db2 db3"
. /run/users/replication.env  # REPLICATION_PASSWORD

say() { echo "$(date -u +%FT%TZ) $*"; }

# ask NODE SQL: what a node answers; a failure when it does not, within 2 s.
ask() {
    timeout 2 mysql --defaults-extra-file=/run/users/group.cnf --host "$1" --connect-timeout 1 \
        --batch --skip-column-names --execute "$2" 2>/dev/null
}

# state NODE: away, OFFLINE, RECOVERING, ONLINE, ERROR, or LOST for a member without a majority.
state() {
    ask "$1" "
        SELECT COALESCE(MAX(CASE WHEN member_id <> @@server_uuid THEN NULL
            WHEN member_state = 'ONLINE'
                AND (SELECT SUM(member_state = 'UNREACHABLE') * 2 >= COUNT(*)
                     FROM performance_schema.replication_group_members) THEN 'LOST'
            ELSE member_state END), 'OFFLINE')
        FROM performance_schema.replication_group_members" || echo away
}

# transactions NODE: all that it has executed or received.
transactions() {
    ask "$1" "
        SELECT CONCAT(REPLACE(@@gtid_executed, '\n', ''), ',', COALESCE((
            SELECT REPLACE(received_transaction_set, '\n', '')
            FROM performance_schema.replication_connection_status
            WHERE channel_name = 'group_replication_applier'), ''))"
}

# start NODE [SQL]: let it join the group, or found it. Clients that it has left from before are
# disconnected first: their transactions hold locks that the others' transactions need.
start() {
    timeout 30 mysql --defaults-extra-file=/run/users/group.cnf --host "$1" --connect-timeout 1 \
        --execute "STOP GROUP_REPLICATION; SET GLOBAL offline_mode = ON;
            SET GLOBAL offline_mode = OFF; ${2:-} START GROUP_REPLICATION USER = 'replication',
            PASSWORD = '$REPLICATION_PASSWORD'; SET GLOBAL group_replication_bootstrap_group = OFF" \
        >/tmp/start 2>&1 || say "$1: $(tail -n 1 /tmp/start)"
}

# apply NODE: what a node has received, which it does not apply outside a group. A founder takes
# writes at once, and these could contradict what it has received but not applied.
apply() {
    received=$(ask "$1" "
        SELECT REPLACE(GTID_SUBTRACT(received_transaction_set, @@gtid_executed), '\n', '')
        FROM performance_schema.replication_connection_status
        WHERE channel_name = 'group_replication_applier'")
    [ -n "$received" ] || return 0
    timeout 60 mysql --defaults-extra-file=/run/users/group.cnf --host "$1" --connect-timeout 1 \
        --batch --skip-column-names --execute "
        START REPLICA SQL_THREAD FOR CHANNEL 'group_replication_applier';
        SELECT WAIT_FOR_EXECUTED_GTID_SET('$received', 50);
        STOP REPLICA SQL_THREAD FOR CHANNEL 'group_replication_applier'" >/tmp/applied 2>&1 || return 1
    [ "$(head -n 1 /tmp/applied)" = 0 ]  # 1: not within 50 s
}

# most_complete: the node that has every transaction of the others; nothing when none has.
most_complete() {
    for one in $nodes; do
        has=$(transactions "$one") || return
        complete=yes
        for other in $nodes; do
            set=$(transactions "$other") || return
            [ "$(ask "$one" "SELECT GTID_SUBSET('$set', '$has')")" = 1 ] || complete=no
        done
        [ $complete = no ] || { echo "$one"; return; }
    done
}

last=
while :; do
    online= outside= lost= away= recovering=
    for node in $nodes; do
        case $(state "$node") in
            ONLINE) online="$online $node" ;;
            RECOVERING) recovering="$recovering $node" ;;
            OFFLINE | ERROR) outside="$outside $node" ;;
            LOST) lost="$lost $node" ;;
            *) away="$away $node" ;;
        esac
    done
    now="online:$online; recovering:$recovering; outside:$outside; no majority:$lost; away:$away"
    [ "$now" = "$last" ] || say "$now"
    last=$now
    if [ -n "$online" ]; then
        : >/tmp/has-group
        for node in $outside; do
            say "$node joins"
            start "$node" &
        done
        wait
    else
        rm -f /tmp/has-group
        if [ -z "$away$recovering" ]; then
            # All three answer, and none is in a group that works.
            for node in $lost; do
                ask "$node" "STOP GROUP_REPLICATION"
            done
            first=$(most_complete)
            if [ -n "$first" ]; then
                say "$first founds the group: it has every transaction"
                if apply "$first"; then
                    start "$first" "SET GLOBAL group_replication_bootstrap_group = ON;"
                else
                    say "$first: $(tail -n 1 /tmp/applied)"
                fi
            else
                say "No node has every transaction: a person must choose the one that founds the group."
                sleep 10
            fi
        fi
    fi
    sleep 1
done
