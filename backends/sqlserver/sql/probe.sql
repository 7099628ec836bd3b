-- Run once: is the table there, and does the server know what we need?
SET NOCOUNT ON;
SELECT CASE WHEN OBJECT_ID(@name) IS NULL THEN 0 ELSE 1 END AS found,
	CASE WHEN SCHEMA_ID(@schema) IS NULL THEN 0 ELSE 1 END AS has_schema,
	(SELECT COUNT(*) FROM OPENJSON(N'[1]')) AS has_openjson;
