-- One attempt: @grp, @nonce, @participant, @ttl (microseconds), @metadata.
SET NOCOUNT ON;
SET LOCK_TIMEOUT 200;
DECLARE @now bigint, @seen bigint;
DECLARE @won TABLE (token bigint NOT NULL, acquired_us bigint NOT NULL);
BEGIN TRY
	SET @seen = (SELECT s.expires_us FROM {table} AS s WHERE s.grp = @grp);
	-- The clock is read once. By the time of the writes the reading may be old: that
	-- makes this attempt more cautious and its lease end earlier.
	SET @now = DATEDIFF_BIG(microsecond, CAST('19700101' AS datetime2), SYSUTCDATETIME());
	-- The first attempt ever for a group adds its row, as expired.
	IF @seen IS NULL
	BEGIN
		BEGIN TRY
			INSERT INTO {table} (grp, nonce, last_nonce, participant, token, acquired_us, expires_us, ttl_us, metadata)
			VALUES (@grp, N'', N'', N'', 0, 0, 0, 0, NULL);
		END TRY
		BEGIN CATCH
			IF ERROR_NUMBER() NOT IN (2601, 2627)
			BEGIN
				THROW;
			END;
		END CATCH;
	END;
	-- A record that lasts longer than its holder asked for was written before the
	-- server's clock was set back. Only as it was before the clock was read: one that
	-- was renewed since seems to last too long to an old reading. Every grant changes
	-- the expiry, if only by one.
	UPDATE {table} SET
		expires_us = @now + {t}.ttl_us
	WHERE {t}.grp = @grp AND {t}.expires_us = @seen AND {t}.expires_us > @now + {t}.ttl_us + {t}.ttl_us / 20;
	UPDATE {table} SET
		nonce = @nonce,
		participant = @participant,
		metadata = @metadata,
		token = CASE
			WHEN {t}.nonce = @nonce AND {t}.expires_us > @now THEN {t}.token
			WHEN {t}.token >= @now THEN {t}.token + 1
			ELSE @now END,
		acquired_us = CASE
			WHEN {t}.nonce = @nonce AND {t}.expires_us > @now THEN {t}.acquired_us
			ELSE @now END,
		expires_us = CASE
			WHEN {t}.nonce = @nonce AND {t}.expires_us > @now + @ttl THEN {t}.expires_us + 1
			ELSE @now + @ttl END,
		ttl_us = CASE
			WHEN {t}.nonce = @nonce AND {t}.expires_us > @now + @ttl AND {t}.ttl_us > @ttl THEN {t}.ttl_us
			ELSE @ttl END
	OUTPUT inserted.token, inserted.acquired_us INTO @won (token, acquired_us)
	WHERE {t}.grp = @grp AND {t}.last_nonce <> @nonce AND ({t}.expires_us <= @now OR {t}.nonce = @nonce);
	-- After a success nothing may fail any more, so the table is not read again.
	IF EXISTS (SELECT 1 FROM @won)
		SELECT w.token, w.acquired_us, @@TRANCOUNT AS trancount FROM @won AS w;
	ELSE
		SELECT s.nonce, s.last_nonce, s.participant, s.token, s.acquired_us, s.expires_us, s.ttl_us, s.metadata, @now AS now_us
		FROM {table} AS s WHERE s.grp = @grp;
END TRY
BEGIN CATCH
	THROW;
END CATCH;
