package conformancetest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/consul"
	"github.com/multilock/multilock-go/core/driver"
)

// TestTLS: an agent that is reached by https, that wants to know its clients by
// their certificates too, and what is a misconfiguration then.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	var http2, strangers atomic.Int64
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.addr})
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			http2.Add(1)
		}
		if len(r.TLS.PeerCertificates) == 0 {
			strangers.Add(1)
		}
		forward.ServeHTTP(w, r)
	}))
	front.EnableHTTP2 = true // offered, but a renewal and its hedge must not share a connection
	front.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	front.StartTLS()
	t.Cleanup(front.Close)
	roots := x509.NewCertPool()
	roots.AddCert(front.Certificate())

	trusting := func(c *tls.Config) driver.Driver {
		return s.open(func(o *consul.Options) { o.Address, o.TLSConfig = front.URL, c })
	}
	const ttl = 10 * time.Second
	// The server's certificate serves as that of the client too.
	d := trusting(&tls.Config{RootCAs: roots, Certificates: front.TLS.Certificates})
	term := win(t, d, request("g", ttl))
	if res := renew(t, d, ttl, term); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	mustHeld(t, s.open(), "g", ttl)
	if err := d.Resign(limit(t), term); err != nil {
		t.Fatal(err)
	}
	if http2.Load()+strangers.Load() > 0 {
		t.Errorf("%d requests over HTTP/2, %d without the client's certificate", http2.Load(), strangers.Load())
	}
	for name, c := range map[string]*tls.Config{"default roots": nil, "other roots": {RootCAs: x509.NewCertPool()}} {
		if _, err := trusting(c).Acquire(limit(t), request("g", ttl)); !errors.Is(err, driver.ErrMisconfigured) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
