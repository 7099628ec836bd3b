-- The highest token each resource has seen.
CREATE TABLE {table} (
	resource nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY,
	token bigint NOT NULL
);
