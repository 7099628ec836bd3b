package conformancetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/zookeeper"
	"github.com/multilock/multilock-go/core/driver"
)

// tlsFront ends TLS before a server, and returns its address and whom to trust.
func tlsFront(t *testing.T, server string) (string, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				defer s.Close()
				go func() { _, _ = io.Copy(c, s); _ = c.Close() }()
				_, _ = io.Copy(s, c)
			}()
		}
	}()
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return l.Addr().String(), pool
}

func TestTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr, pool := tlsFront(t, w.servers[0])
	trusting := func(pool *x509.CertPool) *client {
		return w.open(func(o *zookeeper.Options) {
			o.Servers, o.TLSConfig = []string{addr}, &tls.Config{RootCAs: pool}
		})
	}
	a := trusting(pool)
	term := a.win("g")
	a.keeps(term)
	w.open().held("g")
	a.resign(term)
	if _, _, err := trusting(x509.NewCertPool()).try(request("g")); !errors.Is(err, driver.ErrMisconfigured) {
		t.Fatalf("servers that are not trusted: %v", err)
	}
}
