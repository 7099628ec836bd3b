package conformancetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/multilock/multilock-go/backends/azblob"
	"github.com/multilock/multilock-go/backends/azblob/internal/seam"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/azurite"
)

// tokens stands in for a credential of azidentity. Azurite checks whom a token is
// for and when it is valid, but nobody's signature.
type tokens struct {
	audience string
	err      error
}

func (c tokens) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if c.err != nil {
		return azcore.AccessToken{}, c.err
	}
	if !slices.Equal(o.Scopes, []string{"https://storage.azure.com/.default"}) {
		return azcore.AccessToken{}, errors.New("test: a token for something else is asked for: " + strings.Join(o.Scopes, " "))
	}
	part := func(claims map[string]any) string {
		text, err := json.Marshal(claims)
		if err != nil {
			panic(err) // they are constants and numbers
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now()
	token := part(map[string]any{"alg": "none", "typ": "JWT"}) + "." + part(map[string]any{
		"aud": c.audience, "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
		"iat": now.Add(-time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}) + "." + base64.RawURLEncoding.EncodeToString([]byte("nobody's signature"))
	return azcore.AccessToken{Token: token, ExpiresOn: now.Add(time.Hour)}, nil
}

// certificate makes one for 127.0.0.1, as two PEM files and as who trusts it.
func certificate(t *testing.T) (certFile, keyFile string, trust *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trust = x509.NewCertPool()
	trust.AddCert(parsed)
	return file("cert.pem", "CERTIFICATE", der), file("key.pem", "PRIVATE KEY", text), trust
}

// TestCredential is the way of a token from Options.Credential to the store, over
// TLS. It is no test of Entra ID.
func TestCredential(t *testing.T) {
	t.Parallel()
	certFile, keyFile, trust := certificate(t)
	s := azurite.StartTLS(t, certFile, keyFile)
	over := func(c azcore.TokenCredential) driver.Driver {
		t.Helper()
		d := open(t, azblob.Options{AccountURL: "https://" + s.Addr + "/" + azurite.AccountName, Credential: c})
		seam.Wrap(d, func(http.RoundTripper) http.RoundTripper {
			return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, DisableKeepAlives: true}
		})
		return d
	}
	d := over(tokens{audience: "https://storage.azure.com"})
	tm := acquire(t, d, request("g"))
	want(t, "Renew", renew(t, d, tm, map[string]string{"a": "1"}), nil)
	if r, err := d.Leader(patience(t), "g"); err != nil || r.Token != tm.Token || r.Metadata["a"] != "1" {
		t.Errorf("Leader: %+v, %v", r, err)
	}
	want(t, "Resign", d.Resign(patience(t), tm), nil)

	_, err := over(tokens{audience: "https://somebody-elses.example"}).Acquire(patience(t), request("g"))
	want(t, "Acquire with a token for something else", err, driver.ErrMisconfigured)

	away := errors.New("test: the token endpoint is away")
	_, err = over(tokens{err: away}).Acquire(patience(t), request("g"))
	want(t, "Acquire without a token", err, away)
	if errors.Is(err, driver.ErrMisconfigured) {
		t.Errorf("an endpoint that is away is taken for a misconfiguration: %v", err)
	}
}
