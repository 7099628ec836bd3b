// Package certmagictest runs the real certmagic over the adapter.
package certmagictest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	certmagiclock "github.com/multilock/multilock-go/adapters/certmagic"
	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
)

const patience = 30 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// instance is the storage of one of several instances.
func instance(t *testing.T, store *memory.Store, dir string) *certmagiclock.Storage {
	t.Helper()
	b, err := memory.Open(t.Context(), memory.Options{Store: store})
	must(t, err)
	s, err := certmagiclock.New(&certmagic.FileStorage{Path: dir}, b, certmagiclock.Options{
		Election: multilock.Options{HeartbeatTimeout: 600 * time.Millisecond},
	})
	must(t, err)
	t.Cleanup(func() {
		if err := errors.Join(s.Close(context.Background()), b.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return s
}

// authority issues certificates and counts them.
type authority struct {
	key             *ecdsa.PrivateKey
	issued, at      atomic.Int64
	overlap, serial atomic.Int64
}

func (a *authority) IssuerKey() string { return "test" }

func (a *authority) Issue(_ context.Context, r *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	if a.at.Add(1) > 1 {
		a.overlap.Add(1)
	}
	defer a.at.Add(-1)
	time.Sleep(200 * time.Millisecond) // time for others to get in the way
	a.issued.Add(1)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1 + a.serial.Add(1)), Subject: r.Subject, DNSNames: r.DNSNames,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, r.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	return &certmagic.IssuedCertificate{Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// TestOneInstanceObtainsTheCertificate has five instances ask for the same two names
// at one time.
func TestOneInstanceObtainsTheCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &authority{key: key}
	store, dir := memory.NewStore(), t.TempDir()
	var all sync.WaitGroup
	var configs []*certmagic.Config
	for range 5 {
		var c *certmagic.Config
		cache := certmagic.NewCache(certmagic.CacheOptions{
			GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return c, nil },
		})
		t.Cleanup(cache.Stop)
		c = certmagic.New(cache, certmagic.Config{Storage: instance(t, store, dir), Issuers: []certmagic.Issuer{ca}})
		configs = append(configs, c)
	}
	names := []string{"one.example.com", "*.example.com"}
	for _, name := range names {
		for _, c := range configs {
			all.Go(func() {
				if err := c.ObtainCertSync(t.Context(), name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		all.Wait()
	}
	if n := ca.issued.Load(); n != int64(len(names)) || ca.overlap.Load() > 0 {
		t.Errorf("%d certificates were issued, %d of them beside another", n, ca.overlap.Load())
	}
	for _, name := range names {
		for i, c := range configs {
			if _, err := c.CacheManagedCertificate(t.Context(), name); err != nil {
				t.Errorf("instance %d has no certificate for %s: %v", i, name, err)
			}
		}
	}
}

func TestLocks(t *testing.T) {
	store, dir := memory.NewStore(), t.TempDir()
	a, b := instance(t, store, dir), instance(t, store, dir)
	const name = "issue_cert_*.example.com"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, a.Lock(ctx, name))
	must(t, a.RenewLockLease(ctx, name, time.Minute))
	must(t, a.Lock(ctx, "another name"))
	must(t, a.Unlock(ctx, "another name"))
	for _, s := range []*certmagiclock.Storage{a, b} {
		if ok, err := s.TryLock(ctx, name); ok || err != nil {
			t.Errorf("TryLock of a lock that is held: %v, %v", ok, err)
		}
		short, cancel := context.WithTimeout(ctx, 1500*time.Millisecond) // longer than the time-to-live
		if err := s.Lock(short, name); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock of a lock that is held: %v", err)
		}
		cancel()
	}
	if err := b.Unlock(ctx, name); err == nil {
		t.Error("Unlock by somebody else succeeded")
	}
	waited := make(chan error, 1)
	go func() { waited <- b.Lock(ctx, name) }()
	must(t, a.Unlock(ctx, name))
	must(t, <-waited)
	if err := a.RenewLockLease(ctx, name, time.Minute); !errors.Is(err, multilock.ErrLost) {
		t.Errorf("RenewLockLease without the lock: %v", err)
	}
	must(t, b.Unlock(ctx, name))
	ok, err := a.TryLock(ctx, name)
	if must(t, err); !ok {
		t.Error("TryLock of a free lock failed")
	}
	must(t, a.Unlock(ctx, name))
}

// TestALostLockDoesNotComeBack loses the record; the next holder in the same process
// is not in danger from the Unlock of the first.
func TestALostLockDoesNotComeBack(t *testing.T) {
	store := memory.NewStore()
	a, b := instance(t, store, t.TempDir()), instance(t, store, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, a.Lock(ctx, "x"))
	store.Remove("certmagic.x")
	must(t, a.Lock(ctx, "x")) // another goroutine of the same instance
	must(t, a.RenewLockLease(ctx, "x", time.Minute))
	must(t, a.Unlock(ctx, "x")) // the first: it has nothing to release
	if ok, err := b.TryLock(ctx, "x"); ok || err != nil {
		t.Errorf("the second's lock is gone: %v, %v", ok, err)
	}
	must(t, a.Unlock(ctx, "x"))
	must(t, b.Lock(ctx, "x"))
	must(t, b.Close(ctx))
	if err := b.Lock(ctx, "x"); !errors.Is(err, multilock.ErrClosed) {
		t.Errorf("Lock after Close: %v", err)
	}
	if err := b.RenewLockLease(ctx, "x", time.Minute); !errors.Is(err, multilock.ErrLost) {
		t.Errorf("RenewLockLease after Close: %v", err)
	}
	if _, err := certmagiclock.New(&certmagic.FileStorage{}, nil, certmagiclock.Options{}); err == nil {
		t.Error("no backend was accepted")
	}
	if _, err := certmagiclock.New(nil, nil, certmagiclock.Options{}); !errors.Is(err, multilock.ErrInvalid) {
		t.Errorf("no storage: %v", err)
	}
}
