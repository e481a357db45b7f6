#!/bin/sh
# Makes the secrets of production once, into the folder given. Each file can be read by the one user
# whose process needs it: mysql in the database's container, or the service's user by its number.
set -eu
umask 277

folder=$1
service_user=$2

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
# in a grant a plain underscore would stand for any letter.
write mysql mysql_accounts.sql <<END
CREATE USER IF NOT EXISTS 'users'@'%';
ALTER USER 'users'@'%' IDENTIFIED BY '$password';
GRANT ALL ON \`users\\_prod\`.* TO 'users'@'%';
GRANT ALL ON \`users\\_test\`.* TO 'users'@'%';
END
# For the health check, as an option file: on a command line the process list would show it.
printf '[client]\nuser=users\npassword=%s\n' "$password" | write mysql mysql_client.cnf

random | write "$service_user" secret_key
url="mysql+pymysql://users:$password@users-db:3306"
printf %s "$url/users_prod" | write "$service_user" database_url
printf %s "$url/users_test" | write "$service_user" database_test_url

: >"$folder/complete"
echo "The secrets were made."
