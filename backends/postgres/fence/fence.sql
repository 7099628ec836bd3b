-- The table of the fence: one row per group, the greatest token that has written.
-- A role needs SELECT, INSERT and UPDATE on it.
CREATE TABLE IF NOT EXISTS "public"."leader_fence" (
    group_name text COLLATE "C" PRIMARY KEY,
    token      bigint NOT NULL
);
