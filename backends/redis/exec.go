package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	goredis "github.com/redis/go-redis/v9"
)

// call is one script on one group.
type call struct {
	script *script
	key    string
	args   []any
}

// answer is what the script returned, or why there is nothing.
type answer func(i int, fields []string, err error)

// batch is a set of calls that travel together: one round trip, or one per master
// of a cluster.
type batch struct {
	d      *redisDriver
	calls  []call
	wait   time.Duration // how long to wait for the replicas; 0 is not at all
	policy bool          // attempts: a server that was not asked yet looks at its eviction policy

	mu     sync.Mutex
	report answer // nil once nobody listens
}

// exec runs calls on l and tells each answer as it is known. It returns when all
// are, or when ctx has ended; answers that are missing then are uncertain.
func (d *redisDriver) exec(ctx context.Context, l *lane, b *batch) error {
	b.d = d
	if l.net != nil {
		return l.do(ctx, func() { b.run(ctx, l.client(), true) })
	}
	// A client of the user's: its limits are not ours, and its connections cannot
	// be closed. What does not return in time is left behind.
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.run(ctx, l.client(), false)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		b.mu.Lock()
		b.report = nil
		b.mu.Unlock()
		return context.Cause(ctx)
	}
}

func (b *batch) tell(i int, fields []string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.report != nil {
		b.report(i, fields, err)
	}
}

// run sends everything. single says that the client sends a request once.
func (b *batch) run(ctx context.Context, c goredis.UniversalClient, single bool) {
	all := make([]int, len(b.calls))
	for i := range all {
		all[i] = i
	}
	cluster, ok := c.(*goredis.ClusterClient)
	if !ok {
		b.node(ctx, c, "", all, single)
		return
	}
	// Each master on its own: the answers of one must not wait for another.
	nodes := make(map[*goredis.Client][]int)
	for _, i := range all {
		node, err := cluster.MasterForKey(ctx, b.calls[i].key)
		if err != nil { // nothing was sent
			b.tell(i, nil, fmt.Errorf("%w: %w", driver.ErrNotApplied, classify(ctx, err, false)))
			continue
		}
		nodes[node] = append(nodes[node], i)
	}
	var wg sync.WaitGroup
	for node, part := range nodes {
		wg.Go(func() {
			moved, failed := b.node(ctx, node, node.Options().Addr, part, single)
			if failed || len(moved) > 0 {
				cluster.ReloadState(ctx) // another may have the slots now; the SDK does not see our errors
			}
			if len(moved) == 0 {
				return
			}
			if b.wait > 0 {
				for _, i := range moved {
					b.tell(i, nil, fmt.Errorf("%w: redis: the slot of the group has moved", driver.ErrNotApplied))
				}
				return
			}
			_, _ = b.pipe(ctx, cluster, "", moved, false) // it follows redirections itself
		})
	}
	wg.Wait()
}

// node sends the calls of part to one server. It returns those that were redirected
// and whether others have failed.
func (b *batch) node(ctx context.Context, c goredis.UniversalClient, addr string, part []int, single bool) (moved []int, failed bool) {
	if b.policy && len(part) > 1 && !b.d.isChecked(addr) {
		// To look costs a server more than an attempt does: one looks for all.
		moved, failed = b.pipe(ctx, c, addr, part[:1], single)
		part = part[1:]
	}
	alsoMoved, alsoFailed := b.pipe(ctx, c, addr, part, single)
	moved, failed = append(moved, alsoMoved...), failed || alsoFailed
	if failed {
		b.d.checked.Delete(addr) // it may be another server by now, or have other settings
	}
	return moved, failed
}

// pipe sends the calls of part in one pipeline, a single one as it is. Those whose
// script the server has not got, or in a form it does not understand, follow in
// further ones; those it redirects are returned if c is one server, and followed by
// the SDK if not.
func (b *batch) pipe(ctx context.Context, c goredis.UniversalClient, addr string, part []int, single bool) (moved []int, failed bool) {
	_, follows := c.(*goredis.ClusterClient)
	look := b.policy && (follows || !b.d.isChecked(addr))
	load := false
	for round := 0; len(part) > 0; round++ {
		which := withFlags
		if b.d.plain.Load() {
			which = plain
		}
		var to goredis.Scripter = c
		var p goredis.Pipeliner
		if len(part) > 1 || b.wait > 0 {
			p = c.Pipeline()
			to = p
		}
		var loaded *script // one server then has it for the rest of the pipeline
		cmds := make([]*goredis.Cmd, len(part))
		for j, i := range part {
			x := &b.calls[i]
			if look {
				x.args[lookArg] = "1"
			}
			if load && (follows || x.script != loaded) {
				cmds[j] = to.Eval(ctx, x.script.forms[which].text, []string{x.key}, x.args...)
				loaded = x.script
			} else {
				cmds[j] = to.EvalSha(ctx, x.script.forms[which].sha, []string{x.key}, x.args...)
			}
		}
		var replicas *goredis.Cmd
		var sent error
		if b.wait > 0 {
			replicas = p.Do(ctx, "WAIT", b.d.o.WaitReplicas, b.wait.Milliseconds())
		}
		if p != nil {
			_, sent = p.Exec(ctx)
		}

		var again []int
		for j, i := range part {
			fields, err := result(cmds[j], sent)
			switch {
			case err == nil && len(fields) == 0:
				b.tell(i, nil, errReply(fields))
			case err == nil:
				if look && !follows && fields[0] != "policy" {
					b.d.checked.Store(addr, true)
				}
				b.tell(i, fields, b.confirmed(ctx, fields, replicas))
			case round < 3 && goredis.HasErrorPrefix(err, "NOSCRIPT"):
				load = true
				again = append(again, i)
			case round < 3 && which == withFlags && isReply(err) && strings.Contains(err.Error(), "Error compiling script"):
				b.d.plain.Store(true)
				again = append(again, i)
			case !follows && isRedirect(err):
				moved = append(moved, i)
			default:
				failed = true
				b.tell(i, nil, classify(ctx, err, single))
			}
		}
		part = again
	}
	return moved, failed
}

// result is the reply of a command. One that was never sent, since no connection
// could be made, has none and no error of its own, but that of the pipeline.
func result(cmd *goredis.Cmd, sent error) ([]string, error) {
	if cmd.Err() == nil && cmd.Val() == nil {
		return nil, cmp.Or(sent, errUnanswered)
	}
	return cmd.StringSlice()
}

func isRedirect(err error) bool {
	_, moved := goredis.IsMovedError(err)
	_, ask := goredis.IsAskError(err)
	return moved || ask || goredis.IsTryAgainError(err)
}

// errReplicas says that a write is not where it has to be. It may well get there,
// so the answer stays uncertain and the same request is sent again.
var errReplicas = errors.New("redis: not enough replicas have confirmed the write")

// confirmed is nil if the answer needs no replicas or has them.
func (b *batch) confirmed(ctx context.Context, fields []string, replicas *goredis.Cmd) error {
	if replicas == nil || fields[0] != "ok" {
		return nil
	}
	if replicas.Err() == nil && replicas.Val() == nil {
		return errReplicas
	}
	n, err := replicas.Int64()
	if err != nil {
		return fmt.Errorf("%w: %w", errReplicas, classify(ctx, err, false))
	}
	if n < int64(b.d.o.WaitReplicas) {
		return fmt.Errorf("%w: %d of %d", errReplicas, n, b.d.o.WaitReplicas)
	}
	return nil
}

// waitFor is how long a write of a term may wait for its replicas: long enough for
// a slow one, short enough for several tries before the term is over.
func (d *redisDriver) waitFor(ttl time.Duration) time.Duration {
	if d.o.WaitReplicas == 0 {
		return 0
	}
	return min(max(ttl/5, 50*time.Millisecond), 2*time.Second)
}
