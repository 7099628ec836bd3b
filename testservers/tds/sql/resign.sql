-- Ends the term @grp, @nonce if it is live. The counter stays, and the nonce is
-- remembered so that a late duplicate of its acquire is refused.
SET NOCOUNT ON;
SET LOCK_TIMEOUT 200;
DECLARE @now bigint;
DECLARE @gone TABLE (token bigint NOT NULL);
SET @now = DATEDIFF_BIG(microsecond, CAST('19700101' AS datetime2), SYSUTCDATETIME());
BEGIN TRY
	UPDATE {table} SET
		last_nonce = {t}.nonce,
		nonce = N'',
		participant = N'',
		metadata = NULL,
		expires_us = 0
	OUTPUT inserted.token INTO @gone (token)
	WHERE {t}.grp = @grp AND {t}.nonce = @nonce AND {t}.expires_us > @now;
	SELECT COUNT(*) AS ended, @@TRANCOUNT AS trancount FROM @gone AS g;
END TRY
BEGIN CATCH
	THROW;
END CATCH;
