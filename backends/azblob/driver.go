package azblob

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	azblobsdk "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/multilock/multilock-go/backends/azblob/internal/seam"
	"github.com/multilock/multilock-go/core/driver"
)

const maxLease = time.Minute

// azblobDriver keeps the state of a group in its blob and next to nothing here.
type azblobDriver struct {
	container  *container.Client
	autoCreate bool
	transport  *transport // nil with the user's own client

	terms  terms
	life   context.Context // ends with Close
	end    context.CancelFunc
	closed atomic.Bool
}

// transport is an http.RoundTripper with connections of its own.
type transport struct {
	http *http.Transport
	next http.RoundTripper
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) { return t.next.RoundTrip(r) }

func init() {
	seam.Wrap = func(d driver.Driver, wrap func(http.RoundTripper) http.RoundTripper) {
		t := d.(*azblobDriver).transport
		t.next = wrap(t.next)
	}
}

func newTransport() *transport {
	h := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		// Enough that renewals of many terms do not open connections each time.
		MaxIdleConns:          64,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		// A silent connection is closed rather than waited for until the lease has run
		// out, since it holds up a worker.
		ResponseHeaderTimeout: 10 * time.Second,
	}
	return &transport{http: h, next: h}
}

func newDriver(o Options) (driver.Driver, error) {
	if o.ConnectionString == "" && o.AccountKey == "" && o.SASToken == "" && o.Credential == nil {
		return nil, invalid("azblob.Options.AccountURL", quote(o.AccountURL), "needs AccountKey, SASToken or Credential (a URL takes the first two from MULTILOCK_AZBLOB_ACCOUNT_KEY and MULTILOCK_AZBLOB_SAS_TOKEN)")
	}
	t := newTransport()
	c, err := newService(o, t)
	if err != nil {
		// The SDK's error may quote the connection string or the key.
		return nil, invalid("azblob.Options", "", "must name an account as the Azure SDK understands it")
	}
	d := newContainerDriver(c.NewContainerClient(o.Container), o)
	d.transport = t
	return d, nil
}

func newService(o Options, t *transport) (*service.Client, error) {
	common := azcore.ClientOptions{
		Transport: &http.Client{Transport: t},
		Telemetry: policy.TelemetryOptions{ApplicationID: "multilock"},
	}
	options := &service.ClientOptions{ClientOptions: common}
	switch {
	case o.ConnectionString != "":
		return service.NewClientFromConnectionString(o.ConnectionString, options)
	case o.Credential != nil:
		return service.NewClient(o.AccountURL, o.Credential, options)
	case o.AccountKey != "":
		key, err := azblobsdk.NewSharedKeyCredential(o.accountName(), o.AccountKey)
		if err != nil {
			return nil, err
		}
		return service.NewClientWithSharedKeyCredential(o.AccountURL, key, options)
	}
	return service.NewClientWithNoCredential(o.AccountURL+"?"+o.SASToken, options)
}

func newContainerDriver(c *container.Client, o Options) *azblobDriver {
	d := &azblobDriver{container: c, autoCreate: !o.NoAutoCreate}
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// call runs f under a context that ends with ctx and with Close, and without
// retries of the SDK: core has its own, and knows until when they make sense.
func (d *azblobDriver) call(ctx context.Context, f func(ctx context.Context) error) error {
	if d.closed.Load() {
		return driver.ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	err := classify(f(policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})))
	if err != nil && d.closed.Load() && errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", driver.ErrClosed, err)
	}
	return err
}

// Close implements driver.Driver.
func (d *azblobDriver) Close() error {
	d.closed.Store(true)
	d.end()
	if d.transport != nil {
		d.transport.http.CloseIdleConnections()
	}
	return nil
}

// Renew implements driver.Driver. Azure knows no batches: the requests of a batch
// are sent side by side.
func (d *azblobDriver) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	var wg sync.WaitGroup
	for i, req := range reqs {
		wg.Go(func() {
			res := driver.RenewResult{Index: i}
			res.Err = d.call(ctx, func(ctx context.Context) (err error) {
				res.Granted, err = d.renew(ctx, req)
				return err
			})
			report(res)
		})
	}
	wg.Wait()
}

// Leader implements driver.Driver. A leased blob alone does not tell whose lease
// it is: from the acquire of a lease until its holder has written the record, the
// record is that of a dead predecessor. So the second request reads it again on
// the condition that its own lease is the live one. A group without a leader
// costs one request.
//
// A lease without a record of its own (its holder is about to begin its term, or
// has just ended it, or died there) is neither a leader nor none: others are told
// that the group is held. It is looked at again for a moment, and then the answer
// is an error.
func (d *azblobDriver) Leader(ctx context.Context, group string) (rec driver.Record, err error) {
	err = d.call(ctx, func(ctx context.Context) error {
		for wait := 10 * time.Millisecond; ; wait *= 2 {
			rec, err = d.leader(ctx, d.group(group), group)
			if !errors.Is(err, errBetween) || wait > 200*time.Millisecond {
				return err
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(wait):
			}
		}
	})
	return rec, err
}

var errBetween = errors.New("azblob: the blob is leased by a term that has not begun or is at its end")

func (d *azblobDriver) leader(ctx context.Context, g groupBlob, group string) (driver.Record, error) {
	s, err := g.read(ctx, driver.Nonce{})
	if err != nil {
		if isMissing(err) && !d.misses(err) {
			err = driver.ErrNoLeader
		}
		return driver.Record{}, err
	}
	if !s.leased {
		return driver.Record{}, driver.ErrNoLeader
	}
	r, ok := s.rec.leader(group)
	if !ok {
		return driver.Record{}, errBetween
	}
	nonce := r.Nonce
	if s.rec.Content {
		s.rec, err = g.readAll(ctx, nonce)
	} else {
		s, err = g.read(ctx, nonce)
	}
	if isLost(err) {
		return driver.Record{}, errBetween
	}
	if err != nil {
		return driver.Record{}, err
	}
	if r, ok = s.rec.leader(group); !ok || r.Nonce != nonce || s.rec.Content && r.Metadata == nil {
		return driver.Record{}, errBetween // it has resigned, or its metadata has moved, meanwhile
	}
	return r, nil
}

// misses reports whether err says that the container is missing and shall not be
// made.
func (d *azblobDriver) misses(err error) bool {
	return !d.autoCreate && bloberror.HasCode(err, bloberror.ContainerNotFound)
}

// Ping implements driver.Pinger. It asks about a blob that need not exist, which
// takes no more rights than an election.
func (d *azblobDriver) Ping(ctx context.Context) error {
	return d.call(ctx, func(ctx context.Context) error {
		// No group has a name without the suffix.
		_, err := d.container.NewBlockBlobClient("multilock-ping").GetProperties(ctx, nil)
		if isMissing(err) && !d.misses(err) {
			return nil
		}
		return err
	})
}
