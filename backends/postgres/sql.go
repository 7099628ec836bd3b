package postgres

import (
	"fmt"
	"strings"

	"github.com/multilock/multilock-go/backends/postgres/internal/seam"
)

func init() {
	seam.StatementsOf = func(table string) seam.Statements {
		s := newStatements(table)
		return seam.Statements{Acquire: s.acquire, Clamp: s.clamp, Renew: s.renew}
	}
}

// statements are the texts of all statements over one table.
type statements struct {
	take, acquireOne, acquire, insert, clamp, renew, resign, leaders string
}

// A row lock is never waited for, but a lock of the whole table is taken before
// any row is looked at. A lease that a crash of the server takes back would be
// granted twice, so commits are not asynchronous. The last word of each setting is
// whether it ends with the transaction.
const settingsSQL = `SELECT pg_backend_pid(), set_config('lock_timeout', '100ms', @local),
	set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, @local)`

// settings goes before every statement, in the same round trip and transaction,
// and ends with it. Nothing is left in the session: behind a pooler that is
// somebody else's next, and that of a user's pool is the user's.
var settings = strings.ReplaceAll(settingsSQL, "@local", "true")

// opening goes before the first statement on a connection of ours, in the same
// round trip. Where the session is ours alone, because the server process is the
// one that the connection began with, it is set for good.
func opening(pid uint32) string {
	return strings.ReplaceAll(settingsSQL+`,
	set_config('plan_cache_mode', 'force_generic_plan', @local)`, "@local", fmt.Sprintf("pg_backend_pid() <> %d", pid))
}

// The words of the statements below.
//
// now() is the start of the transaction: a lease is granted from a moment that is
// surely after the client began to ask, and found free as of a moment that is
// surely past. clock_timestamp() is the present: a lease is alive only if it is
// now.
//
// unclamped is the expiry, or what becomes of it if more than the TTL (and 5 %)
// is left, which happens when the clock was stepped back. It is never earlier
// than what the holder may believe. It goes by the present, read while the row is
// locked: to a transaction that began a while ago, and whose statement was late to
// arrive, an expiry that another connection has moved since would seem to be one
// that lasts too long.
//
// remaining is never more than the TTL, and safe for an infinite expiry.
//
// Times leave the server as microseconds: how it prints them is a setting.
const (
	unclamped = `CASE WHEN l.expires_at > clock_timestamp() + l.ttl * 1.05 THEN clock_timestamp() + l.ttl ELSE l.expires_at END`
	alive     = `(l.nonce IS NOT NULL AND l.expires_at > clock_timestamp())`
	remaining = `least(l.expires_at, clock_timestamp() + l.ttl) - clock_timestamp()`
)

// record is what is read of a row, in the order that recordRow has.
var record = `l.participant, l.token, l.nonce::text, l.metadata::text,
	CASE WHEN isfinite(l.acquired_at) THEN ` + micros("l.acquired_at") + ` END,
	` + micros("l.ttl") + `,
	CASE WHEN l.expires_at > clock_timestamp() THEN ` + micros(remaining) + ` ELSE 0 END`

// micros is exact: a double holds the microseconds of the next 250 years. The
// numeric that extract gives since PostgreSQL 14 is dearer, most of all in a new
// server process.
func micros(expr string) string { return "(date_part('epoch', " + expr + ") * 1000000)::bigint" }

// A new term of the group @g with the nonce @n: what it needs, and its token.
const free = `l.last_nonce IS DISTINCT FROM @n AND l.expires_at <= now()`

var (
	firstToken = micros("clock_timestamp()")
	nextToken  = `greatest(l.token + 1, ` + firstToken + `)`
)

// takeSQL makes one attempt, and answers only if it wins a row that was free. It
// is what a new server process parses and plans soonest.
var takeSQL = `UPDATE @table l SET
	nonce = @n,
	participant = @p,
	metadata = @m,
	token = ` + nextToken + `,
	acquired_at = now(),
	ttl = @ttl,
	expires_at = now() + @ttl
WHERE l.group_name = @g AND (SELECT true FROM @table l WHERE l.group_name = @g AND ` + free + ` FOR UPDATE SKIP LOCKED)
RETURNING l.token, ` + micros("l.acquired_at") + ` AS acquired_at`

// insertSQL makes rows of groups that have none, as the first term of each. It
// waits for another's insertion of the same group, for as long as lock_timeout
// lets it, and then leaves the row to the other.
var insertSQL = `INSERT INTO @table AS l (group_name, nonce, participant, metadata, token, acquired_at, ttl, expires_at)
SELECT @g, @n, @p, @m, ` + firstToken + `, now(), @ttl, now() + @ttl @from
ON CONFLICT (group_name) DO NOTHING
RETURNING l.group_name, l.token, ` + micros("l.acquired_at") + ` AS acquired_at`

// seen is what is told of a row to an attempt that did not win it.
var seen = `l.group_name IS NOT NULL,
	coalesce(l.last_nonce = @n, false),
	coalesce(l.nonce = @n, false),
	coalesce(l.expires_at > clock_timestamp(), false),
	coalesce(l.expires_at > clock_timestamp() + l.ttl * 1.05, false),
	` + record + `
`

// acquireOneSQL makes one attempt for a group whose row is free, missing or held
// by another, which is nearly every attempt there is; the plan of a statement
// about one row is kept, whatever becomes of the table. That the row is the
// attempt's own is told, and left to acquireSQL.
var acquireOneSQL = `WITH won AS (
` + takeSQL + `
), made AS (
` + strings.ReplaceAll(insertSQL, "@from", "WHERE NOT EXISTS (SELECT FROM @table l WHERE l.group_name = @g)") + `
), term AS (
	SELECT token, acquired_at FROM won UNION ALL SELECT token, acquired_at FROM made
)
SELECT term.token, term.acquired_at,
	` + seen + `FROM (SELECT) one LEFT JOIN term ON true LEFT JOIN @table l ON l.group_name = @g`

// attemptsCTE are the attempts of a batch.
const attemptsCTE = `WITH q AS (
	SELECT i, g, n::uuid AS n, p, us * interval '1 microsecond' AS ttl, m::jsonb AS m
	FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[]) WITH ORDINALITY AS x(g, n, p, us, m, i)
)`

// acquireSQL makes many attempts. The rows that are free, or the attempt's own,
// are locked unless somebody else has them locked, and taken; what the statement
// saw of the others is told from its snapshot, without locking them.
var acquireSQL = attemptsCTE + `, free AS (
	SELECT l.group_name, coalesce(l.nonce = @n AND l.expires_at > clock_timestamp(), false) AS mine
	FROM @table l JOIN q ON l.group_name = @g
	WHERE ` + free + ` OR l.last_nonce IS DISTINCT FROM @n AND l.nonce = @n AND l.expires_at > clock_timestamp()
	ORDER BY l.group_name
	FOR UPDATE OF l SKIP LOCKED
), won AS (
	UPDATE @table l SET
		nonce = @n,
		participant = @p,
		metadata = @m,
		token = CASE WHEN f.mine THEN l.token ELSE ` + nextToken + ` END,
		acquired_at = CASE WHEN f.mine THEN l.acquired_at ELSE now() END,
		ttl = CASE WHEN f.mine AND ` + unclamped + ` > now() + @ttl THEN l.ttl ELSE @ttl END,
		expires_at = CASE WHEN f.mine THEN greatest(` + unclamped + `, now() + @ttl) ELSE now() + @ttl END
	FROM free f JOIN q ON @g = f.group_name
	WHERE l.group_name = f.group_name
	RETURNING q.i, l.token, ` + micros("l.acquired_at") + ` AS acquired_at, ` + micros("least(q.ttl, l.expires_at - now())") + ` AS granted
)
SELECT q.i, w.token, w.acquired_at, w.granted,
	` + seen + `FROM q LEFT JOIN won w ON w.i = q.i LEFT JOIN @table l ON l.group_name = @g
ORDER BY q.i`

// clampSQL sets right what a clock stepped back left behind.
const clampSQL = `WITH late AS (
	SELECT l.group_name FROM @table l
	WHERE l.group_name = ANY ($1::text[]) AND l.expires_at > clock_timestamp() + l.ttl * 1.05
	ORDER BY l.group_name
	FOR UPDATE SKIP LOCKED
)
UPDATE @table l SET expires_at = ` + unclamped + `
FROM late WHERE l.group_name = late.group_name`

// renewSQL renews many terms. Each line of the answer says whether it was
// renewed, and otherwise whether the statement saw the term alive: then its row
// was locked by somebody.
var renewSQL = `WITH q AS (
	SELECT i, g, n::uuid AS n, us * interval '1 microsecond' AS ttl, m::jsonb AS m
	FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) WITH ORDINALITY AS x(g, n, us, m, i)
), held AS (
	SELECT l.group_name, l.nonce
	FROM @table l JOIN q ON l.group_name = q.g AND l.nonce = q.n
	WHERE l.expires_at > clock_timestamp()
	ORDER BY l.group_name
	FOR UPDATE OF l SKIP LOCKED
), renewed AS (
	UPDATE @table l SET
		ttl = CASE WHEN ` + unclamped + ` > now() + q.ttl THEN l.ttl ELSE q.ttl END,
		expires_at = greatest(` + unclamped + `, now() + q.ttl),
		metadata = coalesce(q.m, l.metadata)
	FROM held JOIN q ON q.g = held.group_name AND q.n = held.nonce
	WHERE l.group_name = held.group_name
	RETURNING l.group_name, l.nonce, l.expires_at
)
SELECT q.i, CASE WHEN r.nonce IS NOT NULL THEN ` + micros("least(q.ttl, r.expires_at - now())") + ` END,
	coalesce(l.nonce = q.n AND l.expires_at > clock_timestamp(), false)
FROM q LEFT JOIN renewed r ON r.group_name = q.g AND r.nonce = q.n LEFT JOIN @table l ON l.group_name = q.g`

// resignSQL ends a term and tells those who listen. The nonce is kept so that a
// late duplicate of the attempt that won the term is refused.
const resignSQL = `WITH held AS (
	SELECT l.group_name FROM @table l
	WHERE l.group_name = $1::text AND l.nonce = $2::text::uuid AND l.expires_at > clock_timestamp()
	FOR UPDATE SKIP LOCKED
), ended AS (
	UPDATE @table l SET last_nonce = l.nonce, nonce = NULL, expires_at = '-infinity'
	FROM held WHERE l.group_name = held.group_name
	RETURNING l.group_name
)
SELECT (SELECT count(pg_notify($3::text, group_name)) FROM ended) > 0,
	EXISTS (SELECT 1 FROM @table l WHERE l.group_name = $1::text AND l.nonce = $2::text::uuid AND l.expires_at > clock_timestamp())`

// leadersSQL reads the live records of groups, without any lock.
var leadersSQL = `SELECT l.group_name, ` + record + `
FROM @table l WHERE l.group_name = ANY ($1::text[]) AND ` + alive

// newStatements puts the quoted name of the table into the texts, and what the
// words for an attempt stand for: the parameters of one, or a line of many.
func newStatements(table string) statements {
	one := strings.NewReplacer("@table", table, "@g", "$1::text", "@n", "$2::text::uuid", "@p", "$3::text",
		"@ttl", "$4::bigint * interval '1 microsecond'", "@m", "$5::text::jsonb")
	many := strings.NewReplacer("@table", table, "@g", "q.g", "@n", "q.n", "@p", "q.p", "@ttl", "q.ttl", "@m", "q.m", "@from", "FROM q ORDER BY q.g")
	return statements{
		take:       one.Replace(takeSQL),
		acquireOne: one.Replace(acquireOneSQL),
		acquire:    many.Replace(acquireSQL),
		insert:     many.Replace(attemptsCTE + "\n" + insertSQL),
		clamp:      many.Replace(clampSQL),
		renew:      many.Replace(renewSQL),
		resign:     many.Replace(resignSQL),
		leaders:    many.Replace(leadersSQL),
	}
}
