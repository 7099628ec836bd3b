-- The table of the PostgreSQL backend: one row per group, never deleted, because
-- it carries the fencing token from one term to the next.
--
-- A role that takes part needs SELECT, INSERT and UPDATE on this table and USAGE
-- on its schema, nothing else:
--
--   GRANT SELECT, INSERT, UPDATE ON public.leader_election TO your_role;
--
-- For another schema or table replace the quoted name below. The fill factor
-- leaves room for heartbeats to be updates in place; no changing column may be
-- indexed.
CREATE TABLE IF NOT EXISTS "public"."leader_election" (
    group_name  text COLLATE "C" PRIMARY KEY,
    token       bigint           NOT NULL DEFAULT 0,
    nonce       uuid,                                          -- of the live term
    last_nonce  uuid,                                          -- of the last term that resigned
    participant text             NOT NULL DEFAULT '',
    metadata    jsonb            NOT NULL DEFAULT '{}',
    acquired_at timestamptz,
    ttl         interval         NOT NULL DEFAULT '0',
    expires_at  timestamptz      NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
