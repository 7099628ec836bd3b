package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
	goredis "github.com/redis/go-redis/v9"
)

func TestURLs(t *testing.T) {
	for raw, want := range map[string]Options{
		"redis://h:7000":                                     {Addrs: []string{"h:7000"}},
		"redis://h":                                          {Addrs: []string{"h:6379"}},
		"redis://u:p@h:7000/3":                               {Addrs: []string{"h:7000"}, Username: "u", Password: "p", Database: 3},
		"redis://h:1?db=4&multilock.grace=20s":               {Addrs: []string{"h:1"}, Database: 4, Grace: 20 * time.Second},
		"rediss://h:1":                                       {Addrs: []string{"h:1"}, TLS: true},
		"redis://h:1?addr=i:2&addr=j:3":                      {Addrs: []string{"h:1", "i:2", "j:3"}},
		"redis://h:1?multilock.addrs=i:2,j:3":                {Addrs: []string{"i:2", "j:3"}},
		"redis://h:1?multilock.sentinel_master=m":            {Addrs: []string{"h:1"}, SentinelMaster: "m"},
		"redis://h:1?multilock.cluster=true":                 {Addrs: []string{"h:1"}, Cluster: true},
		"redis://:p%40ss@h:1?multilock.key_prefix=elections": {Addrs: []string{"h:1"}, Password: "p@ss", KeyPrefix: "elections"},
	} {
		got, err := ParseURL(raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", raw, got, err, want)
		}
	}
	if o, err := ParseURL("rediss://h:1?skip_verify=true"); err != nil || o.TLSConfig == nil || !o.TLSConfig.InsecureSkipVerify {
		t.Errorf("skip_verify: %+v, %v", o, err)
	}
	for _, raw := range []string{
		"redis://h:1?pool_size=3", "redis://h:1?skip_verify=true", "redis://h:1?db=x", "redis://h:1/x", "redis://h:1?multilock.nonsense=1",
		"redis://h:1/3?multilock.cluster=true", "http://h:1", "redis://secret@h:1/notanumber", "redis://u:secret@h:1?pool_size=secret",
	} {
		_, err := ParseURL(raw)
		if !errors.Is(err, multilock.ErrInvalid) {
			t.Errorf("%s: %v", raw, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", raw, err)
		}
	}
}

func TestRulesBetweenOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"cluster and database":   {Addrs: []string{"a:1", "b:2"}, Database: 1},
		"cluster and sentinels":  {Addrs: []string{"a:1"}, Cluster: true, SentinelMaster: "m"},
		"sentinel user without":  {Addrs: []string{"a:1"}, SentinelUsername: "u"},
		"sentinel password only": {Addrs: []string{"a:1"}, SentinelPassword: "p"},
	} {
		if err := o.Validate(); !errors.Is(err, multilock.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, o := range map[string]Options{
		"nothing":   {},
		"cluster":   {Addrs: []string{"a:1", "b:2"}},
		"sentinels": {Addrs: []string{"a:1", "b:2"}, SentinelMaster: "m", Database: 3},
	} {
		if err := o.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// reply is an error reply as the SDK hands it out.
type reply string

func (e reply) Error() string { return string(e) }
func (reply) RedisError()     {}

func TestClassify(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	for _, c := range []struct {
		err    error
		single bool
		want   error // nil for uncertain
	}{
		{reply("READONLY You can't write against a read only replica."), true, driver.ErrNotApplied},
		{reply("READONLY You can't write against a read only replica."), false, nil},
		{reply("LOADING Redis is loading the dataset in memory"), true, driver.ErrNotApplied},
		{reply("CLUSTERDOWN The cluster is down"), true, driver.ErrNotApplied},
		{reply("MOVED 1 127.0.0.1:7000"), true, driver.ErrNotApplied},
		{reply("WRONGPASS invalid username-password pair or user is disabled."), false, driver.ErrMisconfigured},
		{reply("NOAUTH Authentication required."), true, driver.ErrMisconfigured},
		{reply("NOPERM this user has no permissions to run the 'evalsha' command"), true, driver.ErrMisconfigured},
		{reply("ERR something nobody foresaw"), true, nil},
		{fmt.Errorf("wrapped: %w", refused), true, driver.ErrNotApplied},
		{refused, false, nil},
		{reset, true, nil},
		{goredis.ErrClosed, true, driver.ErrClosed},
		{errors.New("i/o timeout"), true, nil},
	} {
		got := classify(context.Background(), c.err, c.single)
		certain := errors.Is(got, driver.ErrNotApplied) || errors.Is(got, driver.ErrMisconfigured) || errors.Is(got, driver.ErrClosed)
		if c.want == nil && certain || c.want != nil && !errors.Is(got, c.want) || !errors.Is(got, c.err) {
			t.Errorf("%v (single %v): %v, want %v", c.err, c.single, got, c.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got := classify(ctx, refused, true); errors.Is(got, driver.ErrNotApplied) || !errors.Is(got, context.Canceled) {
		t.Errorf("after the context ended: %v", got)
	}
}

func TestRepliesThatMakeNoSense(t *testing.T) {
	nonce := driver.NewNonce().String()
	for _, fields := range [][]string{
		{"led"},
		{"led", "x", "h", "1", "1", "1", "1", ""},
		{"led", nonce, "h", "-1", "1", "1", "1", ""},
		{"led", nonce, "h", "1", "-1", "1", "1", ""},
		{"led", nonce, "h", "1", "1", "99999999999999999999", "1", ""},
		{"led", nonce, "h", "1", "1", "1", "1", "{"},
	} {
		if rec, err := parseRecord("g", fields); err == nil {
			t.Errorf("%q: %+v", fields, rec)
		}
	}
	for _, fields := range [][]string{{"ok"}, {"ok", "x", "1", "1"}, {"ok", "1", "1", "-1"}, {"no", "1", "1", "1"}} {
		if g, err := parseGrant(fields); err == nil {
			t.Errorf("%q: %+v", fields, g)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("led\x00" + driver.NewNonce().String() + "\x00h\x0012\x0034\x0056\x0078\x00{\"a\":\"b\"}")
	f.Fuzz(func(t *testing.T, s string) {
		rec, err := parseRecord("g", strings.Split(s, "\x00"))
		if err == nil && (rec.Remaining < 0 || rec.TTL < 0) {
			t.Errorf("%q: %+v", s, rec)
		}
	})
}

func FuzzGrant(f *testing.F) {
	f.Add("ok\x0012\x0034\x0056")
	f.Fuzz(func(t *testing.T, s string) {
		g, err := parseGrant(strings.Split(s, "\x00"))
		if err == nil && g.Granted < 0 {
			t.Errorf("%q: %+v", s, g)
		}
	})
}
