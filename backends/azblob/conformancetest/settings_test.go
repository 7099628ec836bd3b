package conformancetest

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azblobsdk "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	azcontainer "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/multilock/multilock-go/backends/azblob"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

func TestMisconfiguration(t *testing.T) {
	f := newFixture(t)
	d := open(t, azblob.Options{ConnectionString: f.a.connection, Container: f.container, NoAutoCreate: true})
	_, err := d.Acquire(patience(t), request("g"))
	want(t, "Acquire without a container", err, driver.ErrMisconfigured)
	want(t, "Ping without a container", d.(driver.Pinger).Ping(patience(t)), driver.ErrMisconfigured)
	_, err = d.Leader(patience(t), "g")
	want(t, "Leader without a container", err, driver.ErrMisconfigured)

	if plainEndpoint(f.a.connection) == nil {
		t.Skip("the rest changes the key of an emulator")
	}
	const wrong = "d3Jvbmcga2V5"
	endpoint := plainEndpoint(f.a.connection).String()
	for what, o := range map[string]azblob.Options{
		"a wrong key":               {AccountURL: endpoint, AccountKey: wrong},
		"a signature that is wrong": {AccountURL: endpoint, SASToken: "sv=2021-10-04&ss=b&srt=co&sp=rwc&se=2099-01-01T00%3A00%3A00Z&sig=" + wrong},
	} {
		o.Container = f.container
		d := open(t, o)
		_, err := d.Acquire(patience(t), request("g"))
		want(t, "Acquire with "+what, err, driver.ErrMisconfigured)
		if strings.Contains(err.Error(), wrong) {
			t.Errorf("%s is told: %v", what, err)
		}
		b, err := azblob.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		e, err := multilock.New(b, multilock.Options{Group: "g"})
		if err != nil {
			t.Fatal(err)
		}
		want(t, "Start with "+what, e.Start(patience(t)), multilock.ErrMisconfigured)
		want(t, "Close", b.Close(patience(t)), nil)
	}
}

func TestCredentials(t *testing.T) {
	f := newFixture(t)
	u := plainEndpoint(f.a.connection)
	if u == nil {
		t.Skip("needs the key of an emulator")
	}
	service, err := azblobsdk.NewClientFromConnectionString(f.a.connection, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := service.ServiceClient().GetSASURL(sas.AccountResourceTypes{Container: true, Object: true}, sas.AccountPermissions{Read: true, Write: true, Create: true}, time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(signed, "?")
	d := open(t, azblob.Options{AccountURL: u.String(), SASToken: token, Container: f.container})
	tm := acquire(t, d, request("g"))
	want(t, "Renew", renew(t, d, tm, map[string]string{"a": "1"}), nil)
	want(t, "Resign", d.Resign(patience(t), tm), nil)

	key := f.a.connection[strings.Index(f.a.connection, "AccountKey=")+len("AccountKey="):]
	key, _, _ = strings.Cut(key, ";")
	d = open(t, azblob.Options{AccountURL: u.String(), AccountKey: key, Container: f.container})
	acquire(t, d, request("g"))
}

func TestOwnClient(t *testing.T) {
	f := newFixture(t)
	client, err := azblobsdk.NewClientFromConnectionString(f.a.connection, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tries []string
	var mu sync.Mutex
	transport := roundTripper(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		tries = append(tries, kind(r))
		mu.Unlock()
		if kind(r) == "acquire" && r.URL.Query().Get("comp") == "lease" && strings.Contains(r.URL.Path, "broken") {
			return nil, errLostReply
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	inContainer, err := azcontainer.NewClientFromConnectionString(f.a.connection, f.container, &azcontainer.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: transport}}})
	if err != nil {
		t.Fatal(err)
	}
	one, err := azblob.FromClient(client, azblob.Options{Container: f.container})
	if err != nil {
		t.Fatal(err)
	}
	two, err := azblob.FromContainer(inContainer, azblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if one.Info().Target != two.Info().Target || !strings.HasSuffix(one.Info().Target, "/"+f.container) {
		t.Errorf("targets %q and %q", one.Info().Target, two.Info().Target)
	}
	tm := acquire(t, one.Driver(), request("g"))
	var held *driver.HeldError
	if _, err := two.Driver().Acquire(patience(t), request("g")); !errors.As(err, &held) {
		t.Errorf("the other client: %v", err)
	}
	want(t, "Resign", one.Driver().Resign(patience(t), tm), nil)
	// The retries of the client are not ours.
	if _, err := two.Driver().Acquire(patience(t), request("broken")); !errors.Is(err, errLostReply) {
		t.Errorf("without a reply: %v", err)
	}
	mu.Lock()
	if n := len(tries) - slices.Index(tries, "acquire"); n != 2 { // held, and broken
		t.Errorf("requests %q", tries)
	}
	mu.Unlock()
	for _, b := range []*multilock.Backend{one, two} {
		want(t, "Close", b.Close(patience(t)), nil)
	}
	if _, err := client.ServiceClient().GetProperties(patience(t), nil); err != nil {
		t.Errorf("the client after Close: %v", err)
	}
	if _, err := azblob.FromClient(nil, azblob.Options{}); !errors.Is(err, multilock.ErrInvalid) {
		t.Errorf("no client: %v", err)
	}
	if _, err := azblob.FromClient(client, azblob.Options{ConnectionString: f.a.connection}); !errors.Is(err, multilock.ErrInvalid) {
		t.Errorf("client and connection string: %v", err)
	}
}
