package file

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// fileDriver is the driver of one Backend: one liveness lock, and the terms it
// owns. The steps that make a term hold are in lease.go.
type fileDriver struct {
	disk disk
	seed maphash.Seed

	// gate is held by whoever opens the directory; others wait for it no longer
	// than their context lives.
	gate    chan struct{}
	clockID string // set once, inside the gate
	opened  bool   // inside the gate

	mu      sync.Mutex
	closed  bool
	terms   map[termKey]*held
	seen    map[string]sighting
	ensured map[string]bool
	watch   *watch
}

type termKey struct {
	group string
	nonce driver.Nonce
}

func newFileDriver(d disk) *fileDriver {
	return &fileDriver{
		disk:    d,
		seed:    maphash.MakeSeed(),
		gate:    make(chan struct{}, 1),
		terms:   map[termKey]*held{},
		seen:    map[string]sighting{},
		ensured: map[string]bool{},
	}
}

// newDriver builds the driver. It touches nothing: the directory is opened by
// the first call that needs it.
func newDriver(o Options) (driver.Driver, error) {
	d, err := newHostDisk(o)
	if err != nil {
		return nil, err
	}
	return newFileDriver(d), nil
}

// ready identifies the clock and, with own, takes the liveness lock.
func (d *fileDriver) ready(ctx context.Context, own bool) error {
	select {
	case d.gate <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.gate }()
	if d.isClosed() {
		return driver.ErrClosed
	}
	if d.clockID == "" {
		id, err := d.disk.identify()
		if err != nil {
			return classify(err)
		}
		d.clockID = id
	}
	if own && !d.opened {
		if err := d.disk.open(); err != nil {
			return classify(err)
		}
		d.opened = true
	}
	return ctx.Err()
}

func (d *fileDriver) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// enter gives the caller a term alone. Without create it returns nil for a term
// that this driver does not own.
func (d *fileDriver) enter(ctx context.Context, key termKey, create bool) (*held, error) {
	d.mu.Lock()
	h := d.terms[key]
	if h == nil {
		if !create {
			d.mu.Unlock()
			return nil, nil
		}
		h = &held{entry: make(chan struct{}, 1)}
		h.term.Group, h.term.Nonce = key.group, key.nonce
		d.terms[key] = h
	}
	h.users++
	d.mu.Unlock()

	select { // first, so that a free term is entered even with a dead context
	case h.entry <- struct{}{}:
		return h, nil
	default:
	}
	select {
	case h.entry <- struct{}{}:
		return h, nil
	case <-ctx.Done():
		d.release(h)
		return nil, ctx.Err()
	}
}

func (d *fileDriver) leave(h *held) {
	<-h.entry
	d.release(h)
}

// release ends the use of h; a live term stays known.
func (d *fileDriver) release(h *held) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h.users--
	if h.users == 0 && !h.live {
		delete(d.terms, termKey{h.term.Group, h.term.Nonce})
	}
}

// begin makes an entered term live.
func (d *fileDriver) begin(h *held) {
	d.mu.Lock()
	h.live = true
	w := d.watch
	d.mu.Unlock()
	if w != nil {
		w.lead(h.term.Group)
	}
}

// drop ends an entered term on this side, once.
func (d *fileDriver) drop(h *held) {
	d.mu.Lock()
	h.live = false
	w := d.watch
	d.mu.Unlock()
	_ = h.file.close() // everything that counts is written
	h.file = nil
	if w != nil {
		w.unlead(h.term.Group)
	}
}

// ensureGroup makes the group's directory unless this driver knows it is there.
func (d *fileDriver) ensureGroup(group string, gen uint64) error {
	d.mu.Lock()
	ensured := d.ensured[group] && gen > 0
	d.mu.Unlock()
	if ensured {
		return nil
	}
	if err := d.disk.ensureGroup(group); err != nil {
		return err
	}
	d.mu.Lock()
	d.ensured[group] = true
	d.mu.Unlock()
	return nil
}

// Acquire implements [driver.Driver].
func (d *fileDriver) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	if err := d.ready(ctx, true); err != nil {
		return driver.Grant{}, err
	}
	h, err := d.enter(ctx, termKey{req.Group, req.Nonce}, true)
	if err != nil {
		return driver.Grant{}, err
	}
	defer d.leave(h)
	if h.file != nil {
		// The answer to an earlier send was lost.
		granted, err := d.extend(h, req.TTL, nil)
		if err == nil {
			return driver.Grant{Token: h.term.Token, Granted: granted, AcquiredAt: h.acquiredAt}, nil
		}
		if !errors.Is(err, driver.ErrLost) {
			return driver.Grant{}, d.failed(err)
		}
	}
	g, err := d.acquire(ctx, h, req)
	if err == nil && d.isClosed() {
		_ = d.lose(h) // Close has not seen this term
		err = driver.ErrClosed
	}
	if err != nil {
		return driver.Grant{}, d.failed(err)
	}
	return g, nil
}

// Renew implements [driver.Driver].
func (d *fileDriver) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	if err := d.ready(ctx, false); err != nil {
		for i := range reqs {
			report(driver.RenewResult{Index: i, Err: err})
		}
		return
	}
	var busy sync.WaitGroup
	for i, req := range reqs {
		if d.renew(noWait, i, req, report) {
			continue
		}
		// Somebody is in this term, perhaps stuck: the others do not wait for it.
		busy.Go(func() { d.renew(ctx, i, req, report) })
	}
	busy.Wait()
}

// noWait is a context that has ended: enter takes only what is free.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// renew answers one request, or returns false if it could not enter the term.
func (d *fileDriver) renew(ctx context.Context, i int, req driver.RenewRequest, report func(driver.RenewResult)) bool {
	h, err := d.enter(ctx, termKey{req.Term.Group, req.Term.Nonce}, false)
	if err != nil {
		return false
	}
	if h == nil {
		report(driver.RenewResult{Index: i, Err: driver.ErrLost})
		return true
	}
	defer d.leave(h)
	result := driver.RenewResult{Index: i, Err: driver.ErrLost}
	if h.file != nil {
		result.Granted, err = d.extend(h, req.TTL, req.Metadata)
		result.Err = d.failed(err)
	}
	report(result)
	return true
}

// Resign implements [driver.Driver].
func (d *fileDriver) Resign(ctx context.Context, t driver.Term) error {
	if err := d.ready(ctx, false); err != nil {
		return err
	}
	h, err := d.enter(ctx, termKey{t.Group, t.Nonce}, false)
	if err != nil {
		return err
	}
	if h == nil {
		return driver.ErrLost
	}
	defer d.leave(h)
	if h.file == nil {
		return driver.ErrLost
	}
	return d.failed(d.resign(h))
}

// unreadableTTL is how long a record that cannot be read must stay unchanged
// before Leader, which has no TTL of its own, says that nobody leads.
const unreadableTTL = time.Minute

// Leader implements [driver.Driver].
func (d *fileDriver) Leader(ctx context.Context, group string) (driver.Record, error) {
	if err := d.ready(ctx, false); err != nil {
		return driver.Record{}, err
	}
	v, err := d.look(group, unreadableTTL)
	switch {
	case err != nil:
		return driver.Record{}, d.failed(err)
	case v.free:
		return driver.Record{}, driver.ErrNoLeader
	case !v.known:
		return driver.Record{}, errTorn
	}
	return v.record(group), nil
}

// Ping implements [driver.Pinger]: the directory can be used as it must be.
func (d *fileDriver) Ping(ctx context.Context) error {
	return d.ready(ctx, true)
}

// closePatience is how long Close waits for a call that is inside a term.
const closePatience = 200 * time.Millisecond

// Close implements [driver.Driver]. A term that was not resigned keeps its
// record, with an owner that is now visibly gone: core has ended the work.
func (d *fileDriver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	w := d.watch
	keys := make([]termKey, 0, len(d.terms))
	for k := range d.terms {
		keys = append(keys, k)
	}
	d.mu.Unlock()
	var err error
	if w != nil {
		err = w.Close()
	}

	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	keep := false
	for _, k := range keys {
		h, busy := d.enter(ctx, k, false)
		if busy != nil {
			keep = true // a call is stuck in the file system; the kernel cleans up
			continue
		}
		if h == nil {
			continue
		}
		if h.file != nil {
			keep = true
			d.drop(h)
		}
		d.leave(h)
	}
	select {
	case d.gate <- struct{}{}:
		defer func() { <-d.gate }()
	case <-ctx.Done():
		return errors.Join(err, errors.New("file: closed while the directory was being opened"))
	}
	if d.opened {
		err = errors.Join(err, d.disk.close(keep))
	}
	return err
}

// failed turns an error of the file system into one of the contract.
func (d *fileDriver) failed(err error) error {
	if err != nil && d.isClosed() && !errors.Is(err, driver.ErrLost) {
		return driver.ErrClosed
	}
	return classify(err)
}
