-- Renews many terms: @reqs is JSON, [{"i":0,"g":group,"n":nonce,"t":ttl in
-- microseconds,"m":metadata or absent}, ...], one entry for each term.
-- Answers one row for each: num is 0, or the error that left it undecided.
-- The tables are joined by WHERE because some compatible servers refuse JOIN in
-- an UPDATE with OUTPUT.
SET NOCOUNT ON;
DECLARE @now bigint, @i int, @locked int;
DECLARE @req TABLE (
	i int NOT NULL PRIMARY KEY,
	grp nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,
	nonce nvarchar(36) COLLATE Latin1_General_BIN2 NOT NULL,
	ttl bigint NOT NULL,
	metadata nvarchar(max) NULL,
	num int NOT NULL
);
DECLARE @done TABLE (
	grp nvarchar(255) COLLATE Latin1_General_BIN2 NOT NULL,
	nonce nvarchar(36) COLLATE Latin1_General_BIN2 NOT NULL
);
INSERT INTO @req (i, grp, nonce, ttl, metadata, num)
SELECT j.i, j.g, j.n, j.t, j.m, 0
FROM OPENJSON(@reqs) WITH (i int '$.i', g nvarchar(255) '$.g', n nvarchar(36) '$.n', t bigint '$.t', m nvarchar(max) '$.m' AS JSON) AS j;
SET @locked = 0;
SET LOCK_TIMEOUT 50;
SET @now = DATEDIFF_BIG(microsecond, CAST('19700101' AS datetime2), SYSUTCDATETIME());
BEGIN TRY
	UPDATE q SET
		expires_us = CASE
			WHEN q.expires_us > @now + q.ttl_us + q.ttl_us / 20 AND q.ttl_us > r.ttl THEN @now + q.ttl_us
			WHEN q.expires_us > @now + q.ttl_us + q.ttl_us / 20 THEN @now + r.ttl
			WHEN q.expires_us > @now + r.ttl THEN q.expires_us
			ELSE @now + r.ttl END,
		ttl_us = CASE
			WHEN q.expires_us > @now + q.ttl_us + q.ttl_us / 20 AND q.ttl_us > r.ttl THEN q.ttl_us
			WHEN q.expires_us > @now + q.ttl_us + q.ttl_us / 20 THEN r.ttl
			WHEN q.expires_us > @now + r.ttl THEN q.ttl_us
			ELSE r.ttl END,
		metadata = COALESCE(r.metadata, q.metadata)
	OUTPUT inserted.grp, inserted.nonce INTO @done (grp, nonce)
	FROM {table} AS q, @req AS r
	WHERE r.grp = q.grp AND r.nonce = q.nonce AND q.expires_us > @now;
END TRY
BEGIN CATCH
	-- Somebody holds one of the rows. The statement changed nothing.
	SET @locked = 1;
END CATCH;
IF @locked = 1
BEGIN
	-- Row by row, so that a locked one leaves only itself undecided.
	DELETE FROM @done;
	SET LOCK_TIMEOUT 1;
	SET @i = (SELECT MIN(r.i) FROM @req AS r);
	WHILE @i IS NOT NULL
	BEGIN
		BEGIN TRY
			SET @now = DATEDIFF_BIG(microsecond, CAST('19700101' AS datetime2), SYSUTCDATETIME());
			UPDATE q SET
				expires_us = CASE
					WHEN q.expires_us > @now + q.ttl_us + q.ttl_us / 20 AND q.ttl_us > r.ttl THEN @now + q.ttl_us
					WHEN q.expires_us > @now + q.ttl_us + q.ttl_us / 20 THEN @now + r.ttl
					WHEN q.expires_us > @now + r.ttl THEN q.expires_us
					ELSE @now + r.ttl END,
				ttl_us = CASE
					WHEN q.expires_us > @now + q.ttl_us + q.ttl_us / 20 AND q.ttl_us > r.ttl THEN q.ttl_us
					WHEN q.expires_us > @now + q.ttl_us + q.ttl_us / 20 THEN r.ttl
					WHEN q.expires_us > @now + r.ttl THEN q.ttl_us
					ELSE r.ttl END,
				metadata = COALESCE(r.metadata, q.metadata)
			OUTPUT inserted.grp, inserted.nonce INTO @done (grp, nonce)
			FROM {table} AS q, @req AS r
			WHERE r.grp = q.grp AND r.nonce = q.nonce AND r.i = @i AND q.expires_us > @now;
		END TRY
		BEGIN CATCH
			UPDATE @req SET num = ERROR_NUMBER() WHERE i = @i;
		END CATCH;
		SET @i = (SELECT MIN(r.i) FROM @req AS r WHERE r.i > @i);
	END;
END;
SELECT r.i, r.num, CASE WHEN EXISTS (SELECT 1 FROM @done AS d WHERE d.grp = r.grp AND d.nonce = r.nonce) THEN 1 ELSE 0 END AS renewed, @@TRANCOUNT AS trancount
FROM @req AS r;
