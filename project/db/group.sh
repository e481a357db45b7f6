#!/bin/sh
# Keeps the group of the three nodes together: a node that stands outside joins, and when there is
# no group, all three found it again, on the one that has every transaction. A loop, once a second.
# With OWN_NODES, such as "db1", it changes these only: then each host has a loop for its own node.
#
# For people: "group.sh state" shows the nodes, "group.sh wait" ends when all three are in the group,
# "group.sh primary db2" makes db2 the primary, and "group.sh found db2" lets it found a group, whatever
# it lacks.
set -u

nodes="db1 db2 db3"
. /run/users/replication.env  # REPLICATION_PASSWORD

say() { echo "$(date -u +%FT%TZ) $*"; }

# run SECONDS NODE SQL: what a node answers within these seconds; else a failure. The SQL may hold a
# password, which on a command line the process list would show.
run() {
    printf %s "$3" | timeout "$1" mysql --defaults-extra-file=/run/users/group.cnf --host "$2" \
        --connect-timeout 1 --batch --skip-column-names
}

ask() { run 2 "$1" "$2" 2>/dev/null; }

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

# tell NODE SQL: run it, and log an error.
tell() {
    run 60 "$1" "$2" >"/tmp/told.$1" 2>&1 || say "$1: $(tail -n 1 "/tmp/told.$1")"
}

# start NODE [ON]: let it join the group; with ON, found it. Clients that it has left from before are
# disconnected first: their transactions hold locks that the others' transactions need.
start() {
    tell "$1" "STOP GROUP_REPLICATION;
        SET GLOBAL offline_mode = ON;
        SET GLOBAL offline_mode = OFF;
        SET GLOBAL group_replication_bootstrap_group = ${2:-OFF};
        START GROUP_REPLICATION USER = 'replication', PASSWORD = '$REPLICATION_PASSWORD';
        SET GLOBAL group_replication_bootstrap_group = OFF"
}

# apply NODE: what a node has received, which it does not apply outside a group. A founder takes
# writes at once, and these could contradict what it has received but not applied.
apply() {
    received=$(ask "$1" "
        SELECT REPLACE(GTID_SUBTRACT(received_transaction_set, @@gtid_executed), '\n', '')
        FROM performance_schema.replication_connection_status
        WHERE channel_name = 'group_replication_applier'")
    [ -n "$received" ] || return 0
    run 60 "$1" "
        START REPLICA SQL_THREAD FOR CHANNEL 'group_replication_applier';
        SELECT WAIT_FOR_EXECUTED_GTID_SET('$received', 50);
        STOP REPLICA SQL_THREAD FOR CHANNEL 'group_replication_applier'" >/tmp/applied 2>&1 || return 1
    [ "$(head -n 1 /tmp/applied)" = 0 ]  # 1: not within 50 s
}

# own NODE...: those of the nodes that this loop may change.
own() {
    for one; do
        case " ${OWN_NODES:-$nodes} " in *" $one "*) echo "$one" ;; esac
    done
}

# is_complete NODE: whether it has every transaction of the others.
is_complete() {
    has=$(transactions "$1") || return
    for other in $nodes; do
        theirs=$(transactions "$other") || return
        [ "$(ask "$1" "SELECT GTID_SUBSET('$theirs', '$has')")" = 1 ] || return
    done
}

# is_member NODE ONLINE...: whether the first of the others, which are in the group, still has it there.
is_member() {
    [ "$(ask "$2" "SELECT COUNT(*) FROM performance_schema.replication_group_members
        WHERE member_host = '$1'")" != 0 ]
}

# found: let the first node that has every transaction found the group, if it is one of our own.
found() {
    for first in $nodes; do
        is_complete "$first" || continue
        [ -n "$(own "$first")" ] || return
        say "$first founds the group: it has every transaction"
        if apply "$first"; then
            start "$first" ON
        else
            say "$first: $(tail -n 1 /tmp/applied)"
        fi
        return
    done
    say "No node has every transaction: a person must choose the one that founds the group."
    sleep 10
}

# is_whole: whether all three are in the group.
is_whole() {
    for node in $nodes; do
        [ "$(state "$node")" = ONLINE ] || return
    done
}

case ${1:-} in
    state)
        for node in $nodes; do
            echo "$node $(state "$node")"
        done
        echo "primary: $(for node in $nodes; do ask "$node" "
            SELECT member_host FROM performance_schema.replication_group_members
            WHERE member_role = 'PRIMARY' AND member_state = 'ONLINE'" && break; done)"
        exit
        ;;
    wait)
        until is_whole; do
            sleep 1
        done
        exit
        ;;
    found)
        start "$2" ON
        exit
        ;;
    primary)
        run 600 "$2" "SELECT group_replication_set_as_primary(@@server_uuid)"
        exit
        ;;
esac

last=
while :; do
    online= offline= failed= away= recovering=
    for node in $nodes; do
        case $(state "$node") in
            ONLINE) online="$online $node" ;;
            RECOVERING) recovering="$recovering $node" ;;
            OFFLINE) offline="$offline $node" ;;
            ERROR | LOST) failed="$failed $node" ;;
            *) away="$away $node" ;;
        esac
    done
    now="online:$online; recovering:$recovering; offline:$offline; failed:$failed; away:$away"
    [ "$now" = "$last" ] || say "$now"
    last=$now
    if [ -n "$online" ]; then
        : >/tmp/has-group
        for node in $(own $offline $failed); do
            is_member "$node" $online && continue  # of before: it would wait in vain to be let in
            say "$node joins"
            start "$node" &
        done
        wait
    else
        rm -f /tmp/has-group
        for node in $(own $failed); do
            say "$node leaves a group that does not work"
            tell "$node" "STOP GROUP_REPLICATION" &  # half a minute, when nobody else is there
        done
        wait
        # All three answer, and have left: what a member of the old group still held back would
        # reach the new one.
        [ -n "$failed$away$recovering" ] || found
    fi
    sleep 1
done
