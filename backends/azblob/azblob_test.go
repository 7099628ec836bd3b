package azblob

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

func metadata(n, size int) map[string]string {
	m := make(map[string]string)
	for i := range n {
		m[fmt.Sprintf("key-%0251d", i)] = strings.Repeat("\"", size) // the worst case for JSON
	}
	return m
}

func TestRecordRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name    string
		m       map[string]string
		content bool
	}{
		{"none", nil, false},
		{"small", map[string]string{"é": "🚀\n\x01", "": ""}, false},
		{"about the limit", metadata(1, 2000), false},
		{"largest", metadata(multilock.MaxMetadata, multilock.MaxMetadataValue), true},
	} {
		r := record{Version: 1, Token: math.MaxUint64 - 1, Nonce: driver.NewNonce().String(), Participant: strings.Repeat("p", 255), AcquiredAt: 1, TTL: 15000, Resigned: driver.NewNonce().String(), Metadata: c.m}
		header, content, err := r.encode()
		if err != nil || (content != nil) != c.content || len(header) > maxHeader || len(content) > maxContent {
			t.Fatalf("%s: %d bytes of header, %d of content, %v", c.name, len(header), len(content), err)
		}
		got, err := decode(map[string]*string{recordKey: &header, "other": nil})
		if err != nil {
			t.Fatal(err)
		}
		if got.Content != c.content {
			t.Errorf("%s: Content is %t", c.name, got.Content)
		}
		if !c.content && !reflect.DeepEqual(got, r) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, r)
		}
		if c.content && (got.Metadata != nil || got.Token != r.Token || got.Nonce != r.Nonce) {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
}

func TestRecordOfSomebodyElse(t *testing.T) {
	for _, text := range []string{"", "x", "e30", "bnVsbA", base64.RawURLEncoding.EncodeToString([]byte(`{"v":0,"token":7}`)), base64.RawURLEncoding.EncodeToString([]byte(`{"v":1,"token":-1}`))} {
		r, err := decode(map[string]*string{recordKey: &text})
		if err != nil || !reflect.DeepEqual(r, record{}) {
			t.Errorf("%q is read as %+v, %v", text, r, err)
		}
	}
	newer := base64.RawURLEncoding.EncodeToString([]byte(`{"v":2}`))
	if _, err := decode(map[string]*string{recordKey: &newer}); !errors.Is(err, driver.ErrMisconfigured) {
		t.Errorf("a newer version: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"v":1,"token":7,"nonce":"6b1f1a0e-7b0f-4b7e-9f0e-0123456789ab"}`, `{"v":1,"nonce":"x"}`, `[]`} {
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(s)))
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := decode(map[string]*string{recordKey: &text})
		if err != nil {
			return
		}
		if rec, ok := r.leader("g"); ok && rec.Nonce.String() != strings.ToLower(r.Nonce) {
			t.Errorf("%q names the nonce %q, read as %v", text, r.Nonce, rec.Nonce)
		}
	})
}

func TestNextToken(t *testing.T) {
	store := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	second := uint64(store.UnixMicro())
	for _, c := range []struct {
		name string
		last uint64
		own  time.Time
		want uint64
	}{
		{"the own clock within the store's second", 0, store.Add(123456 * time.Microsecond), second + 123456},
		{"the own clock is slow", 0, store.Add(-time.Hour), second},
		{"the own clock is fast", 0, store.Add(time.Hour), second + 999_999},
		{"the last token is ahead of the clock", second + 5_000_000, store, second + 5_000_001},
		{"the last token is that of this microsecond", second, store, second + 1},
	} {
		got, at, err := record{Token: c.last}.next(store, c.own)
		if err != nil || got != c.want {
			t.Errorf("%s: %d, %v, want %d", c.name, got, err, c.want)
		}
		if at.Before(store) || !at.Before(store.Add(time.Second)) {
			t.Errorf("%s: the term began at %v, outside of the store's second", c.name, at)
		}
	}
	if _, _, err := (record{Token: math.MaxUint64}).next(store, store); !errors.Is(err, driver.ErrMisconfigured) {
		t.Errorf("the last token of all: %v", err)
	}
}

func TestTermsRemember(t *testing.T) {
	var m terms
	k := termKey{"g", driver.NewNonce()}
	if m.surelyLive(k) {
		t.Error("a nonce that was never sent is live")
	}
	if s, first := m.attempt(k, 30); s != 30 || !first {
		t.Error(s, first)
	}
	if !m.surelyLive(k) {
		t.Error("a nonce sent just now may have expired")
	}
	if s, first := m.attempt(k, 15); s != 30 || first {
		t.Errorf("sent again with less time: %d s, first %t; a lease must not be shortened", s, first)
	}
	m.m[k].live = time.Now().Add(-31 * time.Second)
	if m.surelyLive(k) {
		t.Error("a lease of 30 s is live after 31 s")
	}
	m.extended(k, time.Now())
	if !m.surelyLive(k) {
		t.Error("an extended lease may have expired")
	}
	m.m[k].live = time.Now().Round(0).Add(-31 * time.Second) // only the wall clock has moved: the machine slept
	if m.surelyLive(k) {
		t.Error("a lease of 30 s is live after a sleep of 31 s")
	}
	if _, ok := m.get(k); ok {
		t.Error("a record is known before it was written")
	}
	m.put(k, 30, "e", record{Token: 7, Metadata: map[string]string{"large": "value"}})
	if x, ok := m.get(k); !ok || x.rec.Token != 7 || x.rec.Metadata != nil {
		t.Errorf("%+v, %t", x, ok)
	}
	m.stale(k)
	if _, ok := m.get(k); ok {
		t.Error("a stale record is taken for known")
	}
	m.forget(k)
	for range many {
		m.attempt(termKey{"g", driver.NewNonce()}, 15)
	}
	for _, x := range m.m {
		x.live = time.Now().Add(-time.Hour)
	}
	m.attempt(k, 15)
	if len(m.m) != 1 {
		t.Errorf("%d nonces that came to nothing are kept", len(m.m))
	}
}

const secret = "S3cr3t"

func answer(status int, code string) error {
	u, _ := url.Parse("https://account.blob.core.windows.net/c/g.leader?sig=" + secret)
	return &azcore.ResponseError{StatusCode: status, ErrorCode: code, RawResponse: &http.Response{
		StatusCode: status, Status: http.StatusText(status), Body: http.NoBody, Request: &http.Request{Method: "PUT", URL: u},
	}}
}

// refusal is shaped like azidentity's error.
type refusal struct{ RawResponse *http.Response }

func (*refusal) Error() string { return "no token" }
func (*refusal) NonRetriable() {}

type opaque string

func (opaque) Error() string { return "no token" }
func (opaque) NonRetriable() {}

func TestRefusedCredential(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&refusal{&http.Response{StatusCode: 401}}, true},
		{fmt.Errorf("wrapped: %w", &refusal{&http.Response{StatusCode: 400}}), true},
		{&refusal{&http.Response{StatusCode: 503}}, false},
		{&refusal{&http.Response{StatusCode: 429}}, false},
		{&refusal{}, false}, // no answer
		{opaque(""), false},
		{errors.New("no token"), false},
	} {
		if got := errors.Is(classify(c.err), driver.ErrMisconfigured); got != c.want {
			t.Errorf("%#v: misconfigured is %t", c.err, got)
		}
		if !errors.Is(classify(c.err), c.err) {
			t.Errorf("%#v cannot be reached", c.err)
		}
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err           error
		misconfigured bool
	}{
		{answer(403, "AuthenticationFailed"), true},
		{answer(403, "AuthorizationPermissionMismatch"), true},
		{answer(403, "SomethingNew"), true},
		{answer(401, ""), true},
		{answer(404, "ContainerNotFound"), true}, // only where it is not made
		{answer(400, "InvalidResourceName"), true},
		{answer(409, "BlobImmutableDueToPolicy"), true},
		{answer(500, "InternalError"), false},
		{answer(503, "ServerBusy"), false},
		{answer(429, ""), false},
		{answer(412, "ConditionNotMet"), false},
		{&url.Error{Op: "Put", URL: "https://x/?sig=" + secret, Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, false},
		{fmt.Errorf("wrapped: %w", &url.Error{Op: "Put", URL: "https://x/?sig=" + secret, Err: context.DeadlineExceeded}), false},
	} {
		got := classify(c.err)
		if errors.Is(got, driver.ErrMisconfigured) != c.misconfigured {
			t.Errorf("%v: misconfigured is %t", got, !c.misconfigured)
		}
		if strings.Contains(got.Error(), secret) || strings.Contains(got.Error(), "\n") {
			t.Errorf("the error shows too much: %v", got)
		}
		if errors.Is(got, driver.ErrLost) || errors.Is(got, driver.ErrNotApplied) {
			t.Errorf("%v is taken for certain", got)
		}
		var sdk *azcore.ResponseError
		if errors.As(c.err, &sdk) && !errors.As(got, &sdk) {
			t.Errorf("%v: the SDK's error cannot be reached", got)
		}
	}
	for _, code := range []string{"LeaseLost", "LeaseIdMismatchWithLeaseOperation", "LeaseIdMismatchWithBlobOperation", "LeaseNotPresentWithBlobOperation", "LeaseNotPresentWithLeaseOperation", "LeaseIsBrokenAndCannotBeRenewed", "BlobNotFound", "ContainerNotFound"} {
		if !isLost(answer(409, code)) {
			t.Errorf("%s is no loss", code)
		}
	}
	for _, code := range []string{"", "ConditionNotMet", "ServerBusy", "OperationTimedOut", "ContainerBeingDeleted"} {
		if isLost(answer(412, code)) {
			t.Errorf("%q is a loss", code)
		}
	}
	if !isHeld(answer(409, "LeaseAlreadyPresent")) || !isHeld(answer(409, "LeaseIsBreakingAndCannotBeAcquired")) {
		t.Error("a lease of somebody else is not held")
	}
}

type credential struct{}

func (credential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, errors.New("no token")
}

const (
	key    = "c2VjcmV0" // base64
	accurl = "https://account.blob.core.windows.net"
)

func TestRulesBetweenOptions(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     Options
		field string // of the fault, empty if there is none
	}{
		{"nothing", Options{}, "AccountURL"},
		{"key", Options{AccountURL: accurl, AccountKey: key}, ""},
		{"signature", Options{AccountURL: accurl, SASToken: "sv=1&sig=x"}, ""},
		{"credential", Options{AccountURL: accurl, Credential: credential{}}, ""},
		{"two of them", Options{AccountURL: accurl, AccountKey: key, SASToken: "sig=x"}, "AccountURL"},
		{"credential without TLS", Options{AccountURL: "http://account.example", Credential: credential{}}, "AccountURL"},
		{"signature in the URL", Options{AccountURL: accurl + "?sig=" + secret}, "AccountURL"},
		{"signature with its question mark", Options{AccountURL: accurl, SASToken: "?sig=x"}, "SASToken"},
		{"key that is no base64", Options{AccountURL: accurl, AccountKey: secret}, "AccountKey"},
		{"host without account", Options{AccountURL: "https://1.2.3.4", AccountKey: key}, "AccountName"},
		{"account in the path", Options{AccountURL: "http://127.0.0.1:10000/devstoreaccount1", AccountKey: key}, ""},
		{"connection string", Options{ConnectionString: "AccountName=account;AccountKey=" + key + ";EndpointSuffix=core.windows.net"}, ""},
		{"connection string of something else", Options{ConnectionString: "Server=x;Password=" + secret}, "ConnectionString"},
		{"connection string and account", Options{ConnectionString: "AccountName=account;AccountKey=" + key, AccountURL: accurl}, "ConnectionString"},
		{"two hyphens", Options{AccountURL: accurl, AccountKey: key, Container: "a--b"}, "Container"},
	} {
		err := c.o.Validate()
		if c.field == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if !hasFault(err, "azblob.Options."+c.field) {
			t.Errorf("%s: no fault of %s: %v", c.name, c.field, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: a secret is told: %v", c.name, err)
		}
	}
	if _, err := Open(t.Context(), Options{AccountURL: accurl}); !errors.Is(err, multilock.ErrInvalid) {
		t.Errorf("without a credential: %v", err)
	}
}

func TestURLTakesSecretsFromTheEnvironment(t *testing.T) {
	for _, name := range []string{"MULTILOCK_AZBLOB_CONNECTION_STRING", "MULTILOCK_AZBLOB_ACCOUNT_KEY", "MULTILOCK_AZBLOB_SAS_TOKEN"} {
		t.Setenv(name, "")
	}
	t.Setenv("MULTILOCK_AZBLOB_ACCOUNT_KEY", key)
	o, err := ParseURL("azblob://account.blob.core.windows.net/votes")
	if want := (Options{AccountURL: accurl, AccountKey: key, Container: "votes"}); err != nil || !reflect.DeepEqual(o, want) {
		t.Errorf("%v, %v", o, err)
	}
	if o, err := ParseURL("azblob://account.blob.core.windows.net"); err != nil || o.Container != "" {
		t.Errorf("without a container: %v, %v", o, err)
	}
	t.Setenv("MULTILOCK_AZBLOB_CONNECTION_STRING", "AccountName=account;AccountKey="+key)
	if o, err := ParseURL("azblob:///votes"); err != nil || o.ConnectionString == "" || o.Container != "votes" {
		t.Errorf("without a host: %v, %v", o, err)
	}
	for _, bad := range []string{"azblob://user:" + secret + "@account.example/votes", "azblob://account.example/a/b", "azblob:votes"} {
		if _, err := ParseURL(bad); !hasFault(err, "azblob URL") || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestTargetWithoutSecrets(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{AccountURL: accurl, SASToken: "sig=" + secret}, accurl + "/leader-election"},
		{Options{ConnectionString: "AccountName=account;AccountKey=" + key + ";EndpointSuffix=core.windows.net", Container: "votes"}, accurl + "/votes"},
		{Options{ConnectionString: "BlobEndpoint=" + accurl + ";SharedAccessSignature=sig=" + secret}, accurl + "/leader-election"},
	} {
		d, i, err := NewDriver(c.o)
		if err != nil {
			t.Errorf("%v: %v", c.o, err)
			continue
		}
		if i.Target != c.want {
			t.Errorf("the target is %q, want %q", i.Target, c.want)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRefusedConnectionIsNotApplied(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	d, _, err := NewDriver(Options{AccountURL: "http://" + addr + "/account", SASToken: "sig=" + secret})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	req := driver.AcquireRequest{Group: "g", Participant: "p", Nonce: driver.NewNonce(), TTL: 15 * time.Second}
	if _, err := d.Acquire(t.Context(), req); !errors.Is(err, driver.ErrNotApplied) || strings.Contains(err.Error(), secret) {
		t.Errorf("Acquire: %v", err)
	}
	// After a send whose answer is unknown a refusal settles nothing.
	d.(*azblobDriver).terms.attempt(termKey{"g", req.Nonce}, 15)
	if _, err := d.Acquire(t.Context(), req); err == nil || errors.Is(err, driver.ErrNotApplied) || strings.Contains(err.Error(), secret) {
		t.Errorf("Acquire sent again: %v", err)
	}
	for what, err := range map[string]error{
		"Resign": d.Resign(t.Context(), driver.Term{Group: "g", Nonce: req.Nonce}),
		"Ping":   d.(driver.Pinger).Ping(t.Context()),
	} {
		if err == nil || errors.Is(err, driver.ErrLost) || errors.Is(err, driver.ErrMisconfigured) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestMetadataKeyIsFoundInAnyCase(t *testing.T) {
	header, _, err := record{Version: 1, Token: 7}.encode()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := decode(map[string]*string{"Multilock": to.Ptr(header)}); err != nil || r.Token != 7 {
		t.Errorf("%+v, %v", r, err)
	}
}
