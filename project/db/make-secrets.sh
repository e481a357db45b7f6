#!/bin/sh
# Makes the secrets of production once, into the folder given. Each file can be read by the one user
# whose process needs it: mysql in the database's container, or the service's user by its number.
# With a third argument, the number of HAProxy's user, there are also the accounts of a cluster.
set -eu
umask 277

folder=$1
service_user=$2
haproxy_user=${3:-}

if [ -e "$folder/complete" ]; then
    echo "The secrets are there already."
    exit
fi

random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

# write OWNER NAME: the standard input becomes this file. One that an interrupted run has left may
# be another user's already; it is not written to but replaced.
write() {
    rm -f "$folder/$2"
    cat >"$folder/$2"
    chown "$1" "$folder/$2"
}

password=$(random)
random | write mysql mysql_root_password
# The server runs this on every start, so the account has the password of the URLs below even when
# the secrets were lost and made anew beside the old data. It has no rights but on two databases;
# in a grant a plain underscore would stand for any letter. In a cluster each node makes its own
# accounts, which is no transaction of the group.
accounts() {
    cat <<END
SET sql_log_bin = 0;
CREATE USER IF NOT EXISTS 'users'@'%';
ALTER USER 'users'@'%' IDENTIFIED BY '$password';
GRANT ALL ON \`users\\_prod\`.* TO 'users'@'%';
GRANT ALL ON \`users\\_test\`.* TO 'users'@'%';
END
    [ -z "$haproxy_user" ] || cat <<END
GRANT SELECT ON performance_schema.replication_group_members TO 'users'@'%';
CREATE USER IF NOT EXISTS 'replication'@'%', 'group'@'%', 'monitor'@'%';
ALTER USER 'replication'@'%' IDENTIFIED BY '$replication_password';
GRANT REPLICATION SLAVE ON *.* TO 'replication'@'%';
GRANT CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO 'replication'@'%';
ALTER USER 'group'@'%' IDENTIFIED BY '$group_password';
GRANT GROUP_REPLICATION_ADMIN, REPLICATION_SLAVE_ADMIN ON *.* TO 'group'@'%';
GRANT SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN ON *.* TO 'group'@'%';
GRANT SELECT ON performance_schema.* TO 'group'@'%';
ALTER USER 'monitor'@'%' IDENTIFIED BY '$monitor_password';
GRANT SELECT ON performance_schema.replication_group_members TO 'monitor'@'%';
END
}

# certificates: what the nodes of a cluster, which share one certificate, know one another by.
# Nobody can make another: the authority's key is not kept.
certificates() (
    umask 077
    cd "$(mktemp -d)"
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=users-cluster authority" \
        -keyout authority-key.pem -out authority.pem
    openssl req -newkey rsa:2048 -nodes -subj "/CN=users-cluster node" \
        -keyout node-key.pem -out node-request.pem
    echo "subjectAltName=DNS:db1,DNS:db2,DNS:db3,DNS:users-db,IP:127.0.0.1" >names
    openssl x509 -req -in node-request.pem -CA authority.pem -CAkey authority-key.pem \
        -CAcreateserial -days 3650 -extfile names -out node.pem
    umask 277
    write mysql node.pem <node.pem
    write mysql node-key.pem <node-key.pem
    umask 222
    rm -f "$folder/authority.pem"
    cat authority.pem >"$folder/authority.pem"
)

# A password for replication has at most 32 characters.
replication_password=$(random | head -c 32)
group_password=$(random)
monitor_password=$(random)
accounts | write mysql mysql_accounts.sql
tls=
if [ -n "$haproxy_user" ]; then
    certificates
    tls="?ssl_ca=/run/users/authority.pem"
    echo "REPLICATION_PASSWORD=$replication_password" | write mysql replication.env
    client='[client]\nuser=%s\npassword=%s\nssl-ca=/run/users/authority.pem\n'
    printf "${client}ssl-mode=VERIFY_IDENTITY\n" group "$group_password" | write mysql group.cnf
    printf "$client" monitor "$monitor_password" | write "$haproxy_user" monitor.cnf
fi
# For the health check, as an option file: on a command line the process list would show it.
printf '[client]\nuser=users\npassword=%s\n' "$password" | write mysql mysql_client.cnf

random | write "$service_user" secret_key
url="mysql+pymysql://users:$password@users-db:3306"
printf %s "$url/users_prod$tls" | write "$service_user" database_url
printf %s "$url/users_test$tls" | write "$service_user" database_test_url
[ -z "$haproxy_user" ] || printf %s "mysql+pymysql://users:$password@users-db:3307/users_prod$tls" \
    | write "$service_user" read_database_url

: >"$folder/complete"
echo "The secrets were made."
