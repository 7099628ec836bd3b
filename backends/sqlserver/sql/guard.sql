-- Admits @token to @resource if no higher one was admitted before. Runs in the
-- transaction that writes, and holds the row until it ends.
SET NOCOUNT ON;
DECLARE @n int;
UPDATE {table} SET token = @token
WHERE resource = @resource AND token <= @token;
SET @n = @@ROWCOUNT;
IF @n = 0
BEGIN
	INSERT INTO {table} (resource, token)
	SELECT @resource, @token
	WHERE NOT EXISTS (SELECT 1 FROM {table} AS f WHERE f.resource = @resource);
	SET @n = @@ROWCOUNT;
END;
SELECT @n AS admitted;
