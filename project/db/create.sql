-- The databases of the service. The tables have a character set of their own (see migrations/);
-- this is for what is made beside them.
CREATE DATABASE users_prod CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE DATABASE users_dev CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE DATABASE users_test CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- A node of a cluster begins with no transaction: these databases are on each of them.
RESET BINARY LOGS AND GTIDS;
