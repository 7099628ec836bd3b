package memory

import (
	"context"
	"errors"
	"time"
)

// Request describes a request on its way to the store.
type Request struct {
	// Op is "acquire", "renew", "resign" or "leader".
	Op string
	// Groups are the groups it is about, several for a batch.
	Groups []string
	// Client is the driver it comes from, comparable and otherwise opaque.
	Client any
}

// Interceptor stands between clients and the store. execute runs the request
// there and may be called any number of times, also after the interceptor has
// returned: the reply of the first execution that ended by then is the reply. A
// non-nil error takes the place of the reply. It may block; ctx is the caller's.
//
// An interceptor that is called for a batch handles the batch as one request.
type Interceptor func(ctx context.Context, req Request, execute func()) error

// ErrInjected is the error of a dropped request or reply.
var ErrInjected = errors.New("memory: injected fault: connection reset")

// Intercept sets the interceptor of all requests; nil removes it.
func (s *Store) Intercept(f Interceptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// DropRequest loses the request: the store never sees it.
func DropRequest(context.Context, Request, func()) error { return ErrInjected }

// DropReply loses the reply: the store has executed the request.
func DropReply(_ context.Context, _ Request, execute func()) error {
	execute()
	return ErrInjected
}

// Duplicate executes the request a second time, after d.
func Duplicate(d time.Duration) Interceptor {
	return func(_ context.Context, _ Request, execute func()) error {
		execute()
		time.AfterFunc(d, execute)
		return nil
	}
}

// Delay executes the request after d, or, with an error, not at all if the caller
// gives up first.
func Delay(d time.Duration) Interceptor {
	return func(ctx context.Context, _ Request, execute func()) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			execute()
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// DelayReply executes the request at once and holds its reply back for d.
func DelayReply(d time.Duration) Interceptor {
	return func(ctx context.Context, _ Request, execute func()) error {
		execute()
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Late executes the request after d whether or not the caller has given up, and
// loses the reply.
func Late(d time.Duration) Interceptor {
	return func(_ context.Context, _ Request, execute func()) error {
		time.AfterFunc(d, execute)
		return ErrInjected
	}
}

// Freeze holds every request back until thaw is closed, deaf to the caller giving
// up, like a driver that hangs.
func Freeze(thaw <-chan struct{}) Interceptor {
	return func(_ context.Context, _ Request, execute func()) error {
		<-thaw
		execute()
		return nil
	}
}
