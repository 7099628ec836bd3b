package conformancetest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	azcontainer "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/multilock/multilock-go/backends/azblob"
	"github.com/multilock/multilock-go/backends/azblob/internal/seam"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/conformance/porcupinecheck"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
)

// newHarness is a container of its own. It knows the format of the blobs by
// itself, so that it does to them what another program might.
func newHarness(tb conformance.TB) conformance.Harness {
	a := shared()
	s := newStore(tb, a)
	h := conformance.Harness{
		Name: "azblob",
		TTL:  ttl,
		URL:  "azblob:///" + s.container,
		NewDriver: func(tb conformance.TB) (driver.Driver, driver.Info) {
			return s.open(tb, a.connection)
		},
		RemoveRecord:  s.remove,
		CorruptRecord: s.corrupt,
		SetToken: func(tb conformance.TB, group string, token uint64) {
			s.change(tb, group, func(r map[string]json.RawMessage) { r["token"] = encode(tb, token) })
		},
		Age: func(tb conformance.TB, group string, d time.Duration) {
			s.breakLease(tb, blobOf(group))
			s.change(tb, group, func(r map[string]json.RawMessage) {
				var at int64
				if text, ok := r["acquired_us"]; ok {
					must(tb, json.Unmarshal(text, &at))
					r["acquired_us"] = encode(tb, at-d.Microseconds())
				}
			})
		},
		LoseData: s.removeAll,
		Snapshot: s.snapshot,
		Requests: s.requests.Load,
		Checker:  porcupinecheck.Checker{},
		Missing: map[conformance.Power]string{
			conformance.PowerLock:        "no lock on a blob exists but the lease",
			conformance.PowerSession:     "no term hangs on a session or connection",
			conformance.PowerRestart:     "a restarted Azurite takes every lease for expired; that tokens survive is tested beside the kit",
			conformance.PowerStepClock:   "the clock of the store cannot be set",
			conformance.PowerManualClock: "the clock of the store cannot be set",
		},
	}
	if endpoint := plainEndpoint(a.connection); endpoint != nil {
		h.NewLinked = func(tb conformance.TB) (driver.Driver, driver.Info, conformance.Link) {
			p := proxy.Start(tb, endpoint.Host)
			d, info := s.open(tb, strings.ReplaceAll(a.connection, endpoint.Host, p.Addr()))
			return d, info, link{p}
		}
	} else {
		h.Missing[conformance.PowerLink] = "the account is reached over TLS, which no proxy can stand in for"
	}
	return h
}

// plainEndpoint is the blob endpoint of an emulator, nil if there is TLS.
func plainEndpoint(connection string) *url.URL {
	for part := range strings.SplitSeq(connection, ";") {
		if name, value, _ := strings.Cut(part, "="); strings.EqualFold(name, "BlobEndpoint") {
			if u, err := url.Parse(value); err == nil && u.Scheme == "http" {
				return u
			}
		}
	}
	return nil
}

type link struct{ *proxy.Proxy }

func (l link) Blackhole(d conformance.Direction) { l.Proxy.Blackhole(proxy.Direction(d)) }

// store is one container, seen by an administrator.
type store struct {
	container string
	admin     *azcontainer.Client
	requests  atomic.Int64
}

func newStore(tb conformance.TB, a account) *store {
	s := &store{container: newContainer()}
	// A connection kept open would outlive the rule.
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var err error
	s.admin, err = azcontainer.NewClientFromConnectionString(a.connection, s.container, &azcontainer.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: plain}})
	must(tb, err)
	tb.Cleanup(func() { _, _ = s.admin.Delete(context.Background(), nil) }) // it may not exist
	return s
}

func (s *store) open(tb conformance.TB, connection string) (driver.Driver, driver.Info) {
	tb.Helper()
	d, info, err := azblob.NewDriver(azblob.Options{ConnectionString: connection, Container: s.container})
	must(tb, err)
	seam.Wrap(d, func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			s.requests.Add(1)
			return next.RoundTrip(r)
		})
	})
	return d, info
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func blobOf(group string) string { return group + ".leader" }

const recordKey = "multilock"

func (s *store) breakLease(tb conformance.TB, name string) {
	tb.Helper()
	l, err := lease.NewBlobClient(s.admin.NewBlobClient(name), nil)
	must(tb, err)
	_, _ = l.BreakLease(tb.Context(), &lease.BlobBreakOptions{BreakPeriod: to.Ptr[int32](0)}) // there may be none
}

func (s *store) remove(tb conformance.TB, group string) {
	tb.Helper()
	s.breakLease(tb, blobOf(group))
	_, err := s.admin.NewBlobClient(blobOf(group)).Delete(tb.Context(), nil)
	must(tb, err)
}

// corrupt overwrites the blob under its lease: what a program that knows the
// lease may do without ending it.
func (s *store) corrupt(tb conformance.TB, group string) {
	tb.Helper()
	var nonce string
	must(tb, json.Unmarshal(s.record(tb, group)["nonce"], &nonce))
	_, err := s.admin.NewBlockBlobClient(blobOf(group)).Upload(tb.Context(), streaming.NopCloser(strings.NewReader(`{"LeaderId":"somebody else's"}`)), &blockblob.UploadOptions{
		Metadata:         map[string]*string{"LeaderId": to.Ptr("x")},
		AccessConditions: &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: &nonce}},
	})
	must(tb, err)
}

func (s *store) record(tb conformance.TB, group string) map[string]json.RawMessage {
	tb.Helper()
	p, err := s.admin.NewBlobClient(blobOf(group)).GetProperties(tb.Context(), nil)
	must(tb, err)
	for k, v := range p.Metadata {
		if strings.EqualFold(k, recordKey) {
			text, err := base64.RawURLEncoding.DecodeString(*v)
			must(tb, err)
			var r map[string]json.RawMessage
			must(tb, json.Unmarshal(text, &r))
			return r
		}
	}
	tb.Fatalf("harness: group %q has no record", group)
	return nil
}

// change rewrites the record of a group without a live lease.
func (s *store) change(tb conformance.TB, group string, f func(map[string]json.RawMessage)) {
	tb.Helper()
	r := s.record(tb, group)
	f(r)
	_, err := s.admin.NewBlobClient(blobOf(group)).SetMetadata(tb.Context(), map[string]*string{recordKey: to.Ptr(base64.RawURLEncoding.EncodeToString(encode(tb, r)))}, nil)
	must(tb, err)
}

// all reads all blobs; a container that does not exist yet has none.
func (s *store) all(tb conformance.TB) map[string]saved {
	tb.Helper()
	out := make(map[string]saved)
	pages := s.admin.NewListBlobsFlatPager(nil)
	for pages.More() {
		page, err := pages.NextPage(tb.Context())
		must(tb, err)
		for _, item := range page.Segment.BlobItems {
			p, err := s.admin.NewBlobClient(*item.Name).DownloadStream(tb.Context(), nil)
			must(tb, err)
			content, err := io.ReadAll(p.Body)
			must(tb, err)
			must(tb, p.Body.Close())
			out[*item.Name] = saved{p.Metadata, content}
		}
	}
	return out
}

type saved struct {
	metadata map[string]*string
	content  []byte
}

func (s *store) removeAll(tb conformance.TB) {
	tb.Helper()
	for name := range maps.Keys(s.all(tb)) {
		s.breakLease(tb, name)
		_, err := s.admin.NewBlobClient(name).Delete(tb.Context(), nil)
		must(tb, err)
	}
}

func (s *store) snapshot(tb conformance.TB) func(conformance.TB) {
	tb.Helper()
	backup := s.all(tb)
	return func(tb conformance.TB) {
		s.removeAll(tb)
		for name, b := range backup {
			_, err := s.admin.NewBlockBlobClient(name).Upload(tb.Context(), streaming.NopCloser(bytes.NewReader(b.content)), &blockblob.UploadOptions{Metadata: b.metadata})
			must(tb, err)
		}
	}
}

func must(tb conformance.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatalf("harness: %v", err)
	}
}

func encode(tb conformance.TB, v any) json.RawMessage {
	tb.Helper()
	p, err := json.Marshal(v)
	must(tb, err)
	return p
}
