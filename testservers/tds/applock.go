package tds

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// appLock is an exclusive application lock owned by a session. Those who wait
// are served in the order in which they asked.
type appLock struct {
	owner *session
	queue []*appWaiter
}

type appWaiter struct {
	c       *session
	granted chan struct{}
}

// procedure runs one of the two procedures known.
func (c *session) procedure(ctx context.Context, p *reply, name string, args map[string]any) error {
	name = strings.ToLower(name)
	if err := c.s.begin(name); err != nil {
		p.end(err, 0)
		return nil
	}
	resource, _ := args["Resource"].(string)
	if args["LockOwner"] != "Session" || resource == "" || len(resource) > 255 {
		p.end(&sqlError{102, 15, "The stand-in knows application locks of sessions only."}, -999)
		return nil
	}
	switch name {
	case "sp_getapplock":
		ms, ok := args["LockTimeout"].(int64)
		if args["LockMode"] != "Exclusive" || !ok {
			p.end(&sqlError{102, 15, "The stand-in knows exclusive application locks with a time-out only."}, -999)
			return nil
		}
		c.s.lockWaits = append(c.s.lockWaits, time.Duration(ms)*time.Millisecond)
		status, err := c.getAppLock(ctx, resource, time.Duration(ms)*time.Millisecond)
		if err != nil {
			return nil // cancelled
		}
		p.end(nil, status)
	case "sp_releaseapplock":
		if c.locks[resource] == 0 {
			p.end(&sqlError{1223, 16, fmt.Sprintf("Cannot release the application lock (Resource: '%s') because it is not currently held.", resource)}, -999)
			return nil
		}
		if c.locks[resource]--; c.locks[resource] == 0 {
			c.s.freeAppLock(c, resource)
		}
		p.end(nil, 0)
	default:
		p.end(&sqlError{2812, 16, "Could not find stored procedure '" + name + "'."}, 0)
	}
	return nil
}

// getAppLock returns what sp_getapplock returns: 0 or 1 if it is granted.
func (c *session) getAppLock(ctx context.Context, resource string, timeout time.Duration) (int32, error) {
	s := c.s
	if s.opts.NoAppLocks {
		return -999, nil
	}
	l := s.appLocks[resource]
	if l == nil {
		l = &appLock{}
		s.appLocks[resource] = l
	}
	if l.owner == nil || l.owner == c {
		l.owner = c
		c.locks[resource]++
		return 0, nil
	}
	if timeout == 0 {
		if s.opts.Compatible {
			return -999, nil
		}
		return -1, nil
	}
	w := &appWaiter{c: c, granted: make(chan struct{})}
	l.queue = append(l.queue, w)
	var limit <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		limit = t.C
	}
	s.mu.Unlock()
	var err error
	select {
	case <-w.granted:
	case <-limit:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	select {
	case <-w.granted:
		if err != nil { // granted and cancelled at once: the lock is the session's
			return 0, err
		}
		if s.opts.Compatible {
			return 0, nil
		}
		return 1, nil
	default:
	}
	l.queue = slices.DeleteFunc(l.queue, func(other *appWaiter) bool { return other == w })
	if err != nil {
		return -2, err
	}
	return -1, nil
}

// freeAppLock hands a lock of c to the next session that waits for it.
func (s *Server) freeAppLock(c *session, resource string) {
	delete(c.locks, resource)
	l := s.appLocks[resource]
	if l == nil || l.owner != c {
		return
	}
	l.owner = nil
	if len(l.queue) == 0 {
		delete(s.appLocks, resource)
		return
	}
	next := l.queue[0]
	l.queue = l.queue[1:]
	l.owner = next.c
	next.c.locks[resource]++
	close(next.granted)
}
