package conformancetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proc"
	server "github.com/multilock/multilock-go/testservers/redis"
)

// certificate makes a self-signed one for 127.0.0.1 and writes it and its key.
func certificate(t *testing.T) (roots *x509.CertPool, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(cert)
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return roots, write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", secret)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	roots, certFile, keyFile := certificate(t)
	port := proc.FreePort(t)
	server.Start(t, server.Options{Args: []string{
		"--tls-port", strconv.Itoa(port), "--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-auth-clients", "no",
	}})
	addrs := []string{proc.Addr(port)}
	d := open(t, redis.Options{Addrs: addrs, TLSConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}})
	sink, sub := watchOn(t, d)
	tm := acquire(t, d, request(newGroup(), "a"))
	if err := sub.Add(patience(t), tm.Group); err != nil {
		t.Fatal(err)
	}
	if _, err := renewOne(t, d, tm, ttl); err != nil {
		t.Fatal(err)
	}
	if err := d.Resign(patience(t), tm); err != nil {
		t.Fatal(err)
	}
	sink.woken(t, tm.Group, 1)

	_, err := open(t, redis.Options{Addrs: addrs, TLS: true}).Acquire(patience(t), request(newGroup(), "a"))
	want(t, "a certificate that nobody trusts", err, driver.ErrMisconfigured)
	_, err = open(t, redis.Options{Addrs: addrs}).Acquire(patience(t), request(newGroup(), "a"))
	if err == nil {
		t.Error("granted without TLS on a TLS port")
	}
}
