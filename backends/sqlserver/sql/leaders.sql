-- Reads the records of many groups: @reqs is JSON, [{"i":0,"g":group}, ...].
-- A group without a row answers NULLs; num is 0, or the error that
-- kept its row from being read.
SET NOCOUNT ON;
DECLARE @now bigint, @i int, @locked int;
DECLARE @req TABLE (
	i int NOT NULL PRIMARY KEY,
	grp nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,
	num int NOT NULL
);
DECLARE @seen TABLE (
	i int NOT NULL,
	nonce nvarchar(36) NOT NULL,
	participant nvarchar(255) NOT NULL,
	token bigint NOT NULL,
	acquired_us bigint NOT NULL,
	expires_us bigint NOT NULL,
	ttl_us bigint NOT NULL,
	metadata nvarchar(max) NULL
);
INSERT INTO @req (i, grp, num)
SELECT j.i, j.g, 0
FROM OPENJSON(@reqs) WITH (i int '$.i', g nvarchar(255) '$.g') AS j;
SET @locked = 0;
SET LOCK_TIMEOUT 50;
SET @now = DATEDIFF_BIG(microsecond, CAST('19700101' AS datetime2), SYSUTCDATETIME());
BEGIN TRY
	INSERT INTO @seen (i, nonce, participant, token, acquired_us, expires_us, ttl_us, metadata)
	SELECT r.i, s.nonce, s.participant, s.token, s.acquired_us, s.expires_us, s.ttl_us, s.metadata
	FROM @req AS r JOIN {table} AS s ON s.grp = r.grp;
END TRY
BEGIN CATCH
	SET @locked = 1;
END CATCH;
IF @locked = 1
BEGIN
	DELETE FROM @seen;
	SET LOCK_TIMEOUT 1;
	SET @i = (SELECT MIN(r.i) FROM @req AS r);
	WHILE @i IS NOT NULL
	BEGIN
		BEGIN TRY
			INSERT INTO @seen (i, nonce, participant, token, acquired_us, expires_us, ttl_us, metadata)
			SELECT r.i, s.nonce, s.participant, s.token, s.acquired_us, s.expires_us, s.ttl_us, s.metadata
			FROM @req AS r JOIN {table} AS s ON s.grp = r.grp
			WHERE r.i = @i;
		END TRY
		BEGIN CATCH
			UPDATE @req SET num = ERROR_NUMBER() WHERE i = @i;
		END CATCH;
		SET @i = (SELECT MIN(r.i) FROM @req AS r WHERE r.i > @i);
	END;
END;
SELECT r.i, r.num, s.nonce, s.participant, s.token, s.acquired_us, s.expires_us, s.ttl_us, s.metadata, @now AS now_us
FROM @req AS r LEFT JOIN @seen AS s ON s.i = r.i;
