package sqlserver

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
)

// Timing of the loop. None of it bears on correctness.
const (
	// bellGrace is how long a rung bell is kept for our own electors to win. If
	// they are slower, the next process is woken too; the row still decides.
	bellGrace = 25 * time.Millisecond
	// bellWait bounds one wait for the lock, leaseless one without a lease that it
	// would have to end with.
	bellWait  = 15 * time.Second
	leaseless = time.Second
	// bellSlack is how much longer than asked the server may take to say no.
	bellSlack = 5 * time.Second
	// bellKeepAlive is the interval of a sign of life on a held bell's connection;
	// some gateways cut idle ones.
	bellKeepAlive = 30 * time.Second
	minBackoff    = 20 * time.Millisecond
	maxBackoff    = 5 * time.Second
)

// loop serves one group as long as it is watched or led. It ends with the last
// interest and gives its slot to a group that waits for one.
func (b *bells) loop(g *bell) {
	defer b.done.Done()
	backoff, connected := minBackoff, false
	for {
		v := b.view(g)
		if b.ctx.Err() != nil || !v.wanted() {
			if b.finish(g) {
				return
			}
			continue
		}
		conn, err := b.d.db.Conn(b.ctx)
		if err == nil {
			b.setMute(g, false)
			if connected {
				b.wake(g) // whatever happened while there was no connection
			}
			connected = true
			start := time.Now()
			err = b.serveConn(g, conn)
			if time.Since(start) > maxBackoff {
				backoff = minBackoff
			}
		}
		if err != nil && b.ctx.Err() == nil {
			b.setMute(g, true)
			sleep(b.ctx, backoff, v.changed)
			backoff = min(2*backoff, maxBackoff)
		}
	}
}

// finish gives the slot of g back if nobody wants it any more, and reports
// whether it did.
func (b *bells) finish(g *bell) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, leading := g.leading(time.Now()); b.ctx.Err() == nil && (g.watched || leading) {
		return false
	}
	g.slot, g.mute = false, false
	b.slots--
	b.drop(g)
	for _, other := range b.groups {
		if b.slots >= b.max {
			break
		}
		if !other.slot {
			b.serve(other)
		}
	}
	return true
}

// serveConn queues for the lock and holds it, on one connection, until the
// connection fails or nobody is interested. A connection that may hold the lock
// never goes back to the pool.
func (b *bells) serveConn(g *bell, conn *sql.Conn) (err error) {
	holds := false
	defer func() {
		if holds || err != nil {
			discard(conn)
		}
		conn.Close()
	}()
	pause := minBackoff
	for {
		v := b.view(g)
		if b.ctx.Err() != nil || !v.wanted() {
			return nil
		}
		if !v.leading && time.Until(v.expires) <= 0 { // how long may it be waited for?
			if _, err := b.free(g, conn); err != nil {
				return err
			}
			v = b.view(g)
		}
		asked, wait := time.Now(), v.patience()
		holds = true // from when it is sent
		granted, err := b.lock(g, conn, wait)
		if err != nil {
			return err
		}
		holds = granted
		if !granted {
			// The wait ended with the time the holder had left, or the server cannot
			// say more than no: look for ourselves.
			if free, err := b.free(g, conn); err != nil {
				return err
			} else if free {
				b.wake(g)
			}
			refused := time.Since(asked) < wait/2
			b.setMute(g, refused)
			if !refused {
				pause = minBackoff
				continue
			}
			sleep(b.ctx, pause, nil)
			pause = min(2*pause, maxBackoff)
			continue
		}
		quiet, err := b.granted(g, conn)
		if err != nil {
			return err
		}
		if err := b.unlock(g, conn); err != nil {
			return err
		}
		holds = false
		if !quiet {
			pause = minBackoff
			b.setMute(g, false)
			continue
		}
		// The lock is free although somebody leads, or nobody wants to: asking again
		// at once would only spin.
		b.setMute(g, true)
		changed := b.view(g).changed
		sleep(b.ctx, pause, changed)
		pause = min(2*pause, maxBackoff)
	}
}

// granted is called with the lock held and returns when it is to be given back.
// It reports whether the lock was of no use.
func (b *bells) granted(g *bell, conn *sql.Conn) (quiet bool, err error) {
	v := b.view(g)
	if !v.leading {
		// Its holder resigned, died, or has no doorbell: only the row tells.
		free, err := b.free(g, conn)
		if err != nil || !free {
			return true, err
		}
		v = b.view(g)
		b.wake(g)
		// Somebody of ours may win now; if another process does, we hear of it.
		grace := time.Now().Add(bellGrace)
		for !v.leading && time.Now().Before(grace) && b.ctx.Err() == nil {
			before := v.expires
			sleep(b.ctx, time.Until(grace), v.changed)
			v = b.view(g)
			if !v.expires.Equal(before) {
				break
			}
		}
		if !v.leading {
			return true, nil
		}
	}
	b.setMute(g, false)
	sign, doubts := time.Now(), v.doubts
	for v.leading && b.ctx.Err() == nil {
		sleep(b.ctx, min(time.Until(v.until)+time.Millisecond, time.Until(sign.Add(bellKeepAlive))), v.changed)
		v = b.view(g)
		if v.doubts != doubts || time.Since(sign) >= bellKeepAlive {
			if _, err := b.free(g, conn); err != nil {
				return false, err
			}
			sign, doubts = time.Now(), v.doubts
		}
	}
	return false, nil
}

// patience is how long to wait for the lock: a follower no longer than the lease
// lasts, since a process that is stopped keeps its lock.
func (v view) patience() time.Duration {
	if v.leading {
		return bellWait
	}
	if left := time.Until(v.expires); left > 0 {
		return min(max(left, time.Millisecond), bellWait)
	}
	return leaseless
}

// lock queues for the lock. The sign of the return code is all that servers
// agree on.
func (b *bells) lock(g *bell, conn *sql.Conn, wait time.Duration) (granted bool, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, wait+bellSlack)
	defer cancel()
	// A follower that loses interest, or an elector of ours that wins, need not
	// wait: the first gives the connection up, the second just goes on queueing.
	go b.abandonWhenUnwanted(ctx, cancel, g)
	defer cutWhenOver(ctx, conn)()
	var status mssql.ReturnStatus
	_, err = conn.ExecContext(ctx, "sp_getapplock",
		sql.Named("Resource", b.resource(g.group)),
		sql.Named("LockMode", "Exclusive"),
		sql.Named("LockOwner", "Session"),
		sql.Named("LockTimeout", int32(wait/time.Millisecond)),
		&status)
	return status >= 0, err
}

// abandonWhenUnwanted cancels a wait for a lock nobody wants any more.
func (b *bells) abandonWhenUnwanted(ctx context.Context, cancel context.CancelFunc, g *bell) {
	for ctx.Err() == nil {
		v := b.view(g)
		if !v.wanted() {
			cancel()
			return
		}
		if v.leading {
			sleep(ctx, time.Until(v.until)+time.Millisecond, v.changed)
		} else {
			sleep(ctx, bellWait, v.changed)
		}
	}
}

func (b *bells) unlock(g *bell, conn *sql.Conn) error {
	// Also while closing: the next holder should not have to wait for the server to
	// notice that the connection is gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), time.Second)
	defer cancel()
	defer cutWhenOver(ctx, conn)()
	var status mssql.ReturnStatus
	_, err := conn.ExecContext(ctx, "sp_releaseapplock",
		sql.Named("Resource", b.resource(g.group)),
		sql.Named("LockOwner", "Session"),
		&status)
	return err
}

// free reads the row, notes how long it lasts, and reports whether nobody leads. A lock time-out, or a
// table that is not there, counts as led: the lock would not help.
func (b *bells) free(g *bell, conn *sql.Conn) (bool, error) {
	ctx, cancel := context.WithTimeout(b.ctx, bellSlack)
	defer cancel()
	defer cutWhenOver(ctx, conn)()
	var r row
	err := queryConn(ctx, conn, b.d.stmt.leader, func(rows *sql.Rows, _ int) error {
		return rows.Scan(&r.nonce, &r.participant, &r.token, &r.acquired, &r.expires, &r.ttl, &r.metadata, &r.now)
	}, sql.Named("grp", g.group))
	if len(errorNumbers(err)) > 0 {
		return false, nil
	}
	if err == nil && r.live() {
		b.held(g.group, r.record(g.group).Remaining)
	}
	return !r.live(), err
}

// resource is the name of a group's lock: of bounded length whatever the name,
// and different for every table.
func (b *bells) resource(group string) string {
	sum := sha256.Sum256([]byte(b.d.opts.Schema + "\x00" + b.d.opts.Table + "\x00" + group))
	return "multilock:" + hex.EncodeToString(sum[:20])
}

// sleep waits for d, the end of ctx, or wake.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
}
