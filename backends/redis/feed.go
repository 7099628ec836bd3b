package redis

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// feed is one publish/subscribe connection. It lives as long as that connection:
// after any failure its groups are placed on a new one.
type feed struct {
	w       *watch
	addr    string
	sharded bool
	ps      *goredis.PubSub

	ctx    context.Context
	cancel context.CancelCauseFunc
	heard  atomic.Int64 // when something arrived, in Unix nanoseconds

	mu    sync.Mutex
	queue []order
	kick  chan struct{}
}

// order is a change of what the connection is subscribed to.
type order struct {
	group string
	add   bool
}

// idleCheck is after how much silence the server is asked for a sign of life; a
// connection that stays silent for as long again is given up. Until then a lost
// wake-up costs what a leader's crash costs.
const idleCheck = 10 * time.Second

// most channels of one command
const mostChannels = 1000

var errSilent = errors.New("redis: the subscription has fallen silent")

func newFeed(w *watch, addr string, c goredis.UniversalClient) *feed {
	f := &feed{w: w, addr: addr, sharded: w.d.sharded && !w.d.noShards.Load(), kick: make(chan struct{}, 1)}
	f.ctx, f.cancel = context.WithCancelCause(w.ctx)
	f.ps = c.Subscribe(f.ctx) // no channels, no I/O
	return f
}

// send queues an order; it does no I/O.
func (f *feed) send(group string, add bool) {
	f.mu.Lock()
	f.queue = append(f.queue, order{group, add})
	f.mu.Unlock()
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

func (f *feed) run() {
	var reader sync.WaitGroup
	reader.Go(f.receive)
	f.write()
	_ = f.ps.Close()
	reader.Wait()
	f.w.died(f, classify(context.Background(), context.Cause(f.ctx), false))
}

// write carries out orders until the feed ends.
func (f *feed) write() {
	f.heard.Store(time.Now().UnixNano())
	idle := time.NewTimer(idleCheck)
	defer idle.Stop()
	var asked time.Time // when a sign of life was asked for that has not come
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.kick:
			for part := f.next(); len(part) > 0; part = f.next() {
				if err := f.order(part); err != nil {
					f.cancel(err)
					return
				}
			}
		case <-idle.C:
			heard := time.Unix(0, f.heard.Load())
			if !asked.Before(heard) { // still waiting for it
				f.cancel(errSilent)
				return
			}
			left := idleCheck - time.Since(heard)
			if left <= 0 {
				asked, left = time.Now(), idleCheck
				if err := f.ps.Ping(f.ctx); err != nil {
					f.cancel(err)
					return
				}
			}
			idle.Reset(left)
		}
	}
}

// next takes orders of one kind off the queue.
func (f *feed) next() []order {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for n < len(f.queue) && n < mostChannels && f.queue[n].add == f.queue[0].add {
		n++
	}
	part := f.queue[:n:n]
	f.queue = f.queue[n:]
	return part
}

func (f *feed) order(part []order) error {
	channels := make([]string, len(part))
	for i, o := range part {
		channels[i] = f.w.d.key(o.group)
	}
	if !f.sharded {
		if part[0].add {
			return f.ps.Subscribe(f.ctx, channels...)
		}
		return f.ps.Unsubscribe(f.ctx, channels...)
	}
	// A command on several slots is refused, even if one server has them all.
	for _, c := range channels {
		var err error
		if part[0].add {
			err = f.ps.SSubscribe(f.ctx, c)
		} else {
			err = f.ps.SUnsubscribe(f.ctx, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// receive reads until the connection fails.
func (f *feed) receive() {
	for {
		msg, err := f.ps.Receive(f.ctx)
		if err != nil {
			if f.sharded && isReply(err) && strings.HasPrefix(err.Error(), "ERR unknown command") {
				f.w.d.noShards.Store(true) // before Redis 7: every server of the cluster hears all
				err = errMoved
			}
			f.cancel(err)
			return
		}
		f.heard.Store(time.Now().UnixNano())
		switch m := msg.(type) {
		case *goredis.Message:
			if group, ok := f.w.group(m.Channel); ok {
				f.w.wake(group, turn(m.Payload))
			}
		case *goredis.Subscription:
			group, ok := f.w.group(m.Channel)
			switch {
			case !ok:
			case strings.HasSuffix(m.Kind, "unsubscribe"):
				if f.sharded {
					f.w.moved(f, group)
				}
			default:
				f.w.confirmed(f, group)
			}
		}
	}
}

func (f *feed) close() { f.cancel(nil) }
