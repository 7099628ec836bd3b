-- Renews many terms: @reqs is JSON, [{"i":0,"g":group,"n":nonce,"t":ttl in
-- microseconds,"m":metadata or absent}, ...], one entry for each term.
-- Answers one row for each: num is 0, or the error that left it undecided.
-- The reading of the clock may be old by the time of the write: an expiry is only
-- ever moved forward by it.
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
	nonce nvarchar(36) COLLATE Latin1_General_BIN2 NOT NULL,
	expires_us bigint NOT NULL,
	ttl_us bigint NOT NULL
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
			WHEN q.expires_us > @now + r.ttl THEN q.expires_us + 1
			ELSE @now + r.ttl END,
		ttl_us = CASE
			WHEN q.expires_us > @now + r.ttl AND q.ttl_us > r.ttl THEN q.ttl_us
			ELSE r.ttl END,
		metadata = COALESCE(r.metadata, q.metadata)
	OUTPUT inserted.grp, inserted.nonce, inserted.expires_us, inserted.ttl_us INTO @done (grp, nonce, expires_us, ttl_us)
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
					WHEN q.expires_us > @now + r.ttl THEN q.expires_us + 1
					ELSE @now + r.ttl END,
				ttl_us = CASE
					WHEN q.expires_us > @now + r.ttl AND q.ttl_us > r.ttl THEN q.ttl_us
					ELSE r.ttl END,
				metadata = COALESCE(r.metadata, q.metadata)
			OUTPUT inserted.grp, inserted.nonce, inserted.expires_us, inserted.ttl_us INTO @done (grp, nonce, expires_us, ttl_us)
			FROM {table} AS q, @req AS r
			WHERE r.grp = q.grp AND r.nonce = q.nonce AND r.i = @i AND q.expires_us > @now;
		END TRY
		BEGIN CATCH
			UPDATE @req SET num = ERROR_NUMBER() WHERE i = @i;
		END CATCH;
		SET @i = (SELECT MIN(r.i) FROM @req AS r WHERE r.i > @i);
	END;
END;
-- A record that lasts longer than its holder asked for was written before the
-- server's clock was set back. It is limited by a reading made after the record
-- was written, and only if nobody has renewed it since, which changes the expiry.
SET @now = DATEDIFF_BIG(microsecond, CAST('19700101' AS datetime2), SYSUTCDATETIME());
IF EXISTS (SELECT 1 FROM @done AS d WHERE d.expires_us > @now + d.ttl_us + d.ttl_us / 20)
BEGIN
	SET LOCK_TIMEOUT 1;
	BEGIN TRY
		UPDATE q SET
			expires_us = @now + d.ttl_us
		FROM {table} AS q, @done AS d
		WHERE d.grp = q.grp AND d.nonce = q.nonce AND d.expires_us = q.expires_us AND d.expires_us > @now + d.ttl_us + d.ttl_us / 20;
	END TRY
	BEGIN CATCH
		-- The terms are renewed all the same; the next renewal sees to it.
		SET @locked = 1;
	END CATCH;
END;
SELECT r.i, r.num, CASE WHEN EXISTS (SELECT 1 FROM @done AS d WHERE d.grp = r.grp AND d.nonce = r.nonce) THEN 1 ELSE 0 END AS renewed, @@TRANCOUNT AS trancount
FROM @req AS r;
