-- Reads the record of @grp.
SET NOCOUNT ON;
SET LOCK_TIMEOUT 200;
DECLARE @now bigint;
SET @now = DATEDIFF_BIG(microsecond, CAST('19700101' AS datetime2), SYSUTCDATETIME());
SELECT s.nonce, s.participant, s.token, s.acquired_us, s.expires_us, s.ttl_us, s.metadata, @now AS now_us
FROM {table} AS s WHERE s.grp = @grp;
