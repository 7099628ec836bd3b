-- One row per group, inserted once and never deleted: it carries the token
-- counter and the nonce that resigned last. Times are microseconds since
-- 1970-01-01 by the server's UTC clock. Keys compare byte by byte.
CREATE TABLE {table} (
	grp nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY,
	nonce nvarchar(36) COLLATE Latin1_General_BIN2 NOT NULL,
	last_nonce nvarchar(36) COLLATE Latin1_General_BIN2 NOT NULL,
	participant nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,
	token bigint NOT NULL,
	acquired_us bigint NOT NULL,
	expires_us bigint NOT NULL,
	ttl_us bigint NOT NULL,
	metadata nvarchar(max) NULL
);
