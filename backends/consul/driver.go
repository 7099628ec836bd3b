package consul

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// store is the driver: the sessions of this process, the terms they carry, and
// the watches.
type store struct {
	o         Options
	prefix    string
	client    *api.Client
	transport *http.Transport // nil if the client is the user's

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // what runs in the background until then

	mu       sync.Mutex
	closed   bool
	sessions map[string]*session        // by id; those that may still be alive
	current  map[time.Duration]*session // by TTL; what new terms are put on
	creating map[time.Duration]*creation
	claims   map[string][]*claim    // by group
	settling bool                   // the goroutine that ends what nobody wants is running
	kick     chan struct{}          // wakes it
	refusals map[string]*refusal    // groups under lock-delay
	free     map[string]*api.KVPair // what the keys of groups were when they were last heard to be free
	sub      *subscription

	hung [bells]atomic.Bool // the doorbells that are known to be there
}

// connectTimeout bounds the building of a connection. It is short because a
// second attempt is worth more than a long wait for the first.
const connectTimeout = 5 * time.Second

// newDriver returns the driver of a backend with a client of its own.
func newDriver(o Options) (driver.Driver, error) {
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: connectTimeout,
		MaxIdleConnsPerHost: 20,
		IdleConnTimeout:     90 * time.Second,
		// HTTP/2 would put a renewal and its hedge on the same connection.
		ForceAttemptHTTP2: false,
	}
	if o.TLSConfig != nil {
		transport.TLSClientConfig = o.TLSConfig.Clone()
	}
	scheme, address, found := strings.Cut(o.Address, "://")
	if !found {
		scheme, address = "http", o.Address
	}
	if scheme == "unix" {
		path := address
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}
		transport.Proxy = nil
		scheme, address = "http", "consul.sock"
	}
	host, path, _ := strings.Cut(address, "/")
	if path = strings.TrimRight(path, "/"); path != "" {
		path = "/" + path
	}
	config := &api.Config{
		Address: host, Scheme: scheme, PathPrefix: path, Token: o.Token,
		HttpClient: &http.Client{Transport: transport},
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, err
	}
	if o.Namespace == "" { // the client reads these too; transactions need them spelled out
		o.Namespace = os.Getenv(api.HTTPNamespaceEnvName)
	}
	if o.Partition == "" {
		o.Partition = os.Getenv(api.HTTPPartitionEnvName)
	}
	s := newStore(client, o)
	s.transport = transport
	return s, nil
}

// FromClient returns a backend over a client of the caller's, which is not
// closed with it. Address, Token and TLSConfig are the client's and must be
// empty in o; a namespace or partition set in the client must be repeated in o.
// Leave the client's HTTP transport at least 20 connections to the agent, and do
// not give its HTTP client a Timeout below the time-to-live, since wake-ups are
// long polls.
func FromClient(client *api.Client, o Options) (*multilock.Backend, error) {
	if client == nil {
		return nil, invalid("consul client", "", "must not be nil")
	}
	o, err := o.forClient()
	if err != nil {
		return nil, err
	}
	return multilock.NewBackend(newStore(client, o), info(o))
}

func newStore(client *api.Client, o Options) *store {
	s := &store{
		o: o, prefix: prefixOf(o.KeyPrefix), client: client,
		sessions: make(map[string]*session),
		current:  make(map[time.Duration]*session),
		creating: make(map[time.Duration]*creation),
		claims:   make(map[string][]*claim),
		kick:     make(chan struct{}, 1),
		refusals: make(map[string]*refusal),
		free:     make(map[string]*api.KVPair),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Limits of the server that no option of it moves.
const (
	maxSessionTTL = 24 * time.Hour
	maxLockDelay  = time.Minute
)

// adjustInfo completes what the options decide.
func adjustInfo(o Options, i *driver.Info) {
	i.MinTTL = o.MinSessionTTL
	if o.LongTTL {
		i.MaxTTL = maxSessionTTL
	}
	// A session outlives its last renewal by up to two times-to-live, to which the
	// lock-delay is added, and the time until a group without a watch of its own is
	// looked at.
	i.ExpirySlack = o.SweepInterval
	if o.LockDelay != 0 {
		i.ExpiryFactor = 2
		i.ExpirySlack += max(o.LockDelay, 0)
	}
	if i.Target == "" {
		i.Target = "client of the caller"
	}
}

// lockDelay is that of the sessions with a time-to-live of ttl. The default is
// the whole of it, though a leader believes for a margin less after a renewal: the
// server counts the delay by its own clock, and the margin is for the difference.
func (s *store) lockDelay(ttl time.Duration) time.Duration {
	switch d := s.o.LockDelay; {
	case d < 0:
		return time.Millisecond // what the client library cannot leave out, it sends as its default of 15 s
	case d > 0:
		return d
	}
	return min(ttl, maxLockDelay)
}

// bind returns a context that also ends when the driver is closed.
func (s *store) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (s *store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// goBackground runs f until it returns; Close waits for it. It reports false if
// the driver is closed. The lock must be held.
func (s *store) goBackground(f func()) bool {
	if s.closed {
		return false
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		f()
	}()
	return true
}

// Leader implements driver.Driver.
func (s *store) Leader(ctx context.Context, group string) (driver.Record, error) {
	if s.isClosed() {
		return driver.Record{}, driver.ErrClosed
	}
	ctx, cancel := s.bind(ctx)
	defer cancel()
	p, err := s.read(ctx, group)
	if err != nil {
		return driver.Record{}, err
	}
	return s.leader(group, p)
}

func (s *store) leader(group string, p *api.KVPair) (driver.Record, error) {
	rec := decode(p)
	s.reportOrphan(group, p, rec)
	if !locked(p) || rec.Format == 0 { // free, or locked by something that is no term
		return driver.Record{}, driver.ErrNoLeader
	}
	return rec.term(group, p), nil
}

// Leaders implements driver.BatchReader.
func (s *store) Leaders(ctx context.Context, groups []string, report func(string, driver.Record, error)) {
	if s.isClosed() {
		for _, g := range groups {
			report(g, driver.Record{}, driver.ErrClosed)
		}
		return
	}
	ctx, cancel := s.bind(ctx)
	defer cancel()
	s.readMany(ctx, groups, &api.QueryOptions{RequireConsistent: true}, func(g string, p *api.KVPair, err error) {
		if err != nil {
			report(g, driver.Record{}, err)
			return
		}
		rec, err := s.leader(g, p)
		report(g, rec, err)
	})
}

// Ping implements driver.Pinger: a consistent read needs a leader, the
// datacenter and the permission to read.
func (s *store) Ping(ctx context.Context) error {
	if s.isClosed() {
		return driver.ErrClosed
	}
	ctx, cancel := s.bind(ctx)
	defer cancel()
	_, _, err := s.get(ctx, s.bellKey(0), &api.QueryOptions{RequireConsistent: true})
	return err
}

// closeLimit bounds what Close does over the network.
const closeLimit = 3 * time.Second

// Close implements driver.Driver. It destroys the sessions. Terms that are still
// live then stay protected by the lock-delay; those that resigned are not
// affected.
func (s *store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	sub, refusals := s.sub, s.refusals
	s.mu.Unlock()
	for _, r := range refusals {
		r.timer.Stop()
	}
	s.cancel()
	if sub != nil {
		_ = sub.Close() // never fails
	}
	s.wg.Wait()
	s.mu.Lock()
	sessions := slices.Collect(maps.Values(s.sessions))
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	var wg sync.WaitGroup
	for _, sess := range sessions {
		// Best effort: a session that cannot be destroyed ends with its time-to-live.
		wg.Go(func() { _, _ = s.client.Session().Destroy(sess.id, s.write(ctx)) })
	}
	wg.Wait()
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	return nil
}

// query completes q with what every request carries.
func (s *store) query(ctx context.Context, q *api.QueryOptions) *api.QueryOptions {
	q.Datacenter, q.Namespace, q.Partition = s.o.Datacenter, s.o.Namespace, s.o.Partition
	return q.WithContext(ctx)
}

func (s *store) write(ctx context.Context) *api.WriteOptions {
	w := &api.WriteOptions{Datacenter: s.o.Datacenter, Namespace: s.o.Namespace, Partition: s.o.Partition}
	return w.WithContext(ctx)
}

// read reads the key of a group so that a decision may hang on it: the server
// has asked a majority whether it still leads.
func (s *store) read(ctx context.Context, group string) (*api.KVPair, error) {
	p, _, err := s.get(ctx, s.key(group), &api.QueryOptions{RequireConsistent: true})
	return p, err
}

// get reads a key, which is nil if it does not exist, and the index to wait for
// changes from. To the client library every 404 is a missing key. One of Consul's
// own has an index; the others come from something else, such as a proxy without
// an agent behind it, and say nothing about the key.
func (s *store) get(ctx context.Context, key string, q *api.QueryOptions) (p *api.KVPair, index uint64, err error) {
	p, meta, err := s.client.KV().Get(key, s.query(ctx, q))
	if err == nil && meta.LastIndex == 0 {
		err = driver.Misconfigured(errNoIndex, "Address must lead to Consul's HTTP API, with nothing on the way that drops its headers")
	}
	if err != nil {
		return nil, 0, classify(err)
	}
	return p, meta.LastIndex, nil
}

// readMany reads the keys of groups, at most txnOps at a time.
func (s *store) readMany(ctx context.Context, groups []string, q *api.QueryOptions, report func(string, *api.KVPair, error)) {
	for len(groups) > 0 {
		n := min(len(groups), readOps)
		part := groups[:n]
		groups = groups[n:]
		ops := make([]*api.KVTxnOp, n)
		for i, g := range part {
			ops[i] = &api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: s.key(g)}
		}
		again := *q
		resp, err := s.txn(ctx, ops, &again)
		if err == nil && len(resp.Errors) > 0 {
			err = classify(fmt.Errorf("%w: %s", errUnexpected, resp.Errors[0].What))
		}
		found := make(map[string]*api.KVPair, n)
		if err == nil {
			for _, r := range resp.Results {
				if r.KV != nil {
					found[r.KV.Key] = r.KV
				}
			}
		}
		for _, g := range part {
			p, ok := found[s.key(g)]
			switch {
			case err != nil:
				report(g, nil, err)
			case !ok: // an ACL drops entries without a word
				report(g, nil, driver.Misconfigured(errFiltered, "the ACL token needs key:write below KeyPrefix"))
			case p.ModifyIndex == 0: // get-or-empty of a missing key
				report(g, nil, nil)
			default:
				report(g, p, nil)
			}
		}
	}
}

// Operations in one transaction: the server's limit, and that for reads, whose
// values may be large.
const (
	txnOps  = 128
	readOps = 64
)

// txn sends a transaction that reads. A rolled back one is no error; resp.Errors says why.
func (s *store) txn(ctx context.Context, ops []*api.KVTxnOp, q *api.QueryOptions) (*api.TxnResponse, error) {
	all := make(api.TxnOps, len(ops))
	for i, op := range ops {
		op.Namespace, op.Partition = s.o.Namespace, s.o.Partition
		all[i] = &api.TxnOp{KV: op}
	}
	ok, resp, _, err := s.client.Txn().Txn(all, s.query(ctx, q))
	if err != nil {
		return nil, classify(err)
	}
	if !ok && len(resp.Errors) == 0 {
		return nil, errUnexpected
	}
	return resp, nil
}

// millis rounds up, so that what is stored is never shorter than what was meant.
func millis(d time.Duration) int64 {
	return int64(math.Ceil(float64(d) / float64(time.Millisecond)))
}
