package zookeeper

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

func TestRecordRoundTrip(t *testing.T) {
	n := driver.NewNonce()
	m := map[string]string{"k": "v", "<&>\u2028\"": "\x01\u00e4\n"}
	data, err := encodeLock(n, "p", 15*time.Second, m, 7)
	if err != nil {
		t.Fatal(err)
	}
	stat := &zk.Stat{Czxid: 7, Mzxid: 9, Ctime: 1700000000123}
	rec, ok := decodeLock("g", data, stat)
	if !ok || rec.Nonce != n || rec.Participant != "p" || rec.Group != "g" || rec.Token != 7 || rec.TTL != 15*time.Second ||
		rec.AcquiredAt.UnixMilli() != stat.Ctime || rec.Remaining != driver.RemainingUnknown || len(rec.Metadata) != 2 {
		t.Fatalf("%+v, %v", rec, ok)
	}
	for k, v := range m {
		if rec.Metadata[k] != v {
			t.Errorf("metadata %q: %q, want %q", k, rec.Metadata[k], v)
		}
	}
	if got := resigned(encodeGroup(n)); got != n {
		t.Errorf("resigned %v", got)
	}
	if got := resigned(encode(groupRecord{Format: recordFormat})); !got.IsZero() {
		t.Errorf("resigned %v of a new group", got)
	}
}

func FuzzDecode(f *testing.F) {
	data, _ := encodeLock(driver.NewNonce(), "p", time.Second, map[string]string{"a": "b"}, 0)
	f.Add(data)
	f.Add([]byte(nil))
	f.Add([]byte(`{"format":"multilock/1","nonce":"00000000-0000-0000-0000-000000000000"}`))
	f.Add([]byte(`{"format":"multilock/2","nonce":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, ok := decodeLock("g", data, &zk.Stat{Czxid: 3})
		if rec.Token != 3 || rec.Group != "g" || rec.TTL < 0 || ok == rec.Nonce.IsZero() || !ok && rec.Participant != "" {
			t.Fatalf("%+v, %v", rec, ok)
		}
		resigned(data)
	})
}

func TestPathsTellGroupsApart(t *testing.T) {
	s := newStore(Options{RootPath: "/root"}, NewHook(nil, nil))
	for _, group := range []string{"g", "lock", "a.b", "A", "...", "-"} {
		if got, ok := s.groupOf(s.lockPath(group)); !ok || got != group {
			t.Errorf("%s comes back as %q, %v", group, got, ok)
		}
	}
	for _, path := range []string{"", "/root", "/root/g", "/root2/g/lock", "/root/@sessions/1", "/root/a/b/lock", "/other"} {
		if group, ok := s.groupOf(path); ok {
			t.Errorf("%q is taken for the lock of %q", path, group)
		}
	}
}

func TestRemaining(t *testing.T) {
	const timeout = 10 * time.Second
	for _, c := range []struct {
		what       string
		mono, wall time.Duration
		want       time.Duration
	}{
		{"a new proof", 0, 0, timeout},
		{"an old one", 3 * time.Second, 3 * time.Second, 7 * time.Second},
		{"one gained during the call", -time.Second, -time.Second, timeout},
		{"one too old", 11 * time.Second, 11 * time.Second, 0},
		{"a suspend since", time.Second, 4 * time.Second, 0},
		{"a step back since", 4 * time.Second, time.Second, 0},
		{"a little slewing", time.Second, time.Second + 10*time.Millisecond, timeout - time.Second - 10*time.Millisecond},
	} {
		if got := remaining(timeout, c.mono, c.wall); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	now := time.Now()
	if got := (proof{at: now.Add(-time.Second)}).lifetime(timeout, now); got != timeout-time.Second {
		t.Errorf("lifetime %v", got)
	}
}

func TestDeclared(t *testing.T) {
	for _, o := range []Options{
		{}, {SessionTimeout: 8 * time.Second}, {SessionTimeout: time.Second, Tick: 100 * time.Millisecond},
		{SessionTimeout: time.Hour}, {SessionTimeout: 4 * time.Minute, Tick: time.Minute}, {SessionTimeout: 40 * time.Millisecond * 25, Tick: 10 * time.Millisecond},
	} {
		d, i, err := NewDriver(o)
		if err != nil {
			t.Errorf("%v: %v", o, err)
			continue
		}
		o = o.withDefaults()
		if i.MinTTL != o.SessionTimeout || i.MaxTTL != o.SessionTimeout || i.ExpirySlack != 2*o.Tick || !strings.Contains(i.Target, o.RootPath) {
			t.Errorf("%v: %+v", o, i)
		}
		if most := oldest(o); most/2 < o.Tick || i.Shortening < most {
			t.Errorf("%v: proofs get as old as %v, shortening %v", o, most, i.Shortening)
		}
		// With the oldest proof that an attempt takes, or with what one sync makes of the
		// oldest request, a term is granted.
		if quiet := idle(o); quiet < o.Tick || quiet+o.Tick+leastLife(o.SessionTimeout) > o.SessionTimeout {
			t.Errorf("%v: quiet for %v", o, quiet)
		}
		// An elector with nothing but a group must be possible.
		b, err := multilock.NewBackend(d, i)
		if err != nil {
			t.Errorf("%v: %v", o, err)
			continue
		}
		if _, err := multilock.New(b, multilock.Options{Group: "g"}); err != nil {
			t.Errorf("%v: %v", o, err)
		}
		if err := b.Close(context.Background()); err != nil {
			t.Errorf("%v: %v", o, err)
		}
	}
	for _, o := range []Options{{SessionTimeout: 7 * time.Second}, {SessionTimeout: 15*time.Second + time.Microsecond}, {RootPath: "/"}, {RootPath: "root"}, {RootPath: "/a//b"}, {RootPath: "/a/.."}} {
		if err := o.Validate(); !errors.Is(err, multilock.ErrInvalid) {
			t.Errorf("%v: %v", o, err)
		}
	}
}

func TestURL(t *testing.T) {
	o, err := ParseURL("zk://a:2181,b:2182/some/root?multilock.session_timeout=20s")
	if err != nil || strings.Join(o.Servers, " ") != "a:2181 b:2182" || o.RootPath != "/some/root" || o.SessionTimeout != 20*time.Second {
		t.Errorf("%v, %v", o, err)
	}
	if o, err = ParseURL("zookeeper://[::1]:2181/"); err != nil || o.Servers[0] != "[::1]:2181" || o.RootPath != "" {
		t.Errorf("%v, %v", o, err)
	}
	if _, err = ParseURL("zookeeper://user:secret@a:2181/root"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a user in a URL: %v", err)
	}
}

func TestErrorsAreClassified(t *testing.T) {
	for _, err := range []error{zk.ErrNoAuth, zk.ErrAuthFailed, zk.ErrInvalidACL} {
		if got := explain(err); !errors.Is(got, driver.ErrMisconfigured) || !errors.Is(got, err) || lostConnection(got) {
			t.Errorf("%v: %v", err, got)
		}
	}
	for _, err := range []error{zk.ErrConnectionClosed, zk.ErrNoServer, zk.ErrSessionMoved, &net.OpError{Op: "write", Err: io.EOF}, net.ErrClosed} {
		if got := explain(err); got != err || !lostConnection(err) {
			t.Errorf("%v: %v", err, got)
		}
	}
	for _, err := range []error{nil, zk.ErrNodeExists, driver.ErrLost, context.DeadlineExceeded} {
		if lostConnection(err) {
			t.Errorf("%v is taken for a lost connection", err)
		}
	}
}

func TestHostsTakeTurns(t *testing.T) {
	h := &hosts{}
	if err := h.Init([]string{"a", "b"}); err != nil || h.Len() != 2 {
		t.Fatal(err, h.Len())
	}
	var got strings.Builder
	next := func() {
		s, pause := h.Next()
		got.WriteString(s)
		if pause {
			got.WriteString("!")
		}
	}
	for range 5 {
		next()
	}
	h.Connected()
	for range 3 {
		next()
	}
	if got.String() != "aba!ba!bab!" {
		t.Errorf("%s", got.String())
	}
}

// A session without answers is left alone until it has surely expired.
func TestHush(t *testing.T) {
	h := NewHook(nil, nil)
	h.tick = time.Second
	h.link = link{session: 1, timeout: 10 * time.Second}
	ago := func(heard, wrote time.Duration) {
		h.born = time.Now().Add(-time.Hour)
		h.heard.Store(int64(time.Hour - heard))
		h.wrote.Store(int64(time.Hour - wrote))
	}
	for _, c := range []struct {
		heard, wrote time.Duration
		hushed       bool
	}{
		{time.Second, time.Second, false},
		{9 * time.Second, 0, false},
		{11 * time.Second, time.Second, true},
		{20 * time.Second, 11 * time.Second, true},
		{20 * time.Second, 13 * time.Second, false},
	} {
		ago(c.heard, c.wrote)
		if err := h.hush(); (err != nil) != c.hushed {
			t.Errorf("heard %v ago, wrote %v ago: %v", c.heard, c.wrote, err)
		}
	}
	h.link.session = 0
	ago(11*time.Second, time.Second)
	if err := h.hush(); err != nil {
		t.Errorf("without a session: %v", err)
	}
}

// A ping is left out if something was asked lately, and only while a backend sends
// what takes its place.
func TestPingsAreLeftOut(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	got := make(chan int32, 16)
	go func() {
		b := make([]byte, 12)
		for {
			if _, err := io.ReadFull(server, b); err != nil {
				close(got)
				return
			}
			got <- int32(binary.BigEndian.Uint32(b[8:]))
		}
	}()
	h := NewHook(nil, nil)
	h.link = link{up: true, session: 1, timeout: 9 * time.Second}
	h.born = time.Now().Add(-time.Hour)
	w := &wire{Conn: client, hook: h, welcome: true, moved: make(chan struct{})}
	send := func(op int32) {
		t.Helper()
		b := binary.BigEndian.AppendUint32(make([]byte, 8), uint32(op))
		if n, err := w.Write(b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	const syncRequest = 9
	send(syncRequest)
	send(ping) // nobody has attached
	h.attach(newStore(Options{}, h), time.Second, time.Second)
	send(ping) // and asks nothing yet
	h.relieve(4 * time.Second)
	send(ping)
	h.asked.Store(int64(time.Hour - 4*time.Second - h.link.timeout/50 - time.Millisecond))
	send(ping)
	send(syncRequest)
	send(ping)
	h.detach()
	send(ping)
	client.Close()
	var ops []int32
	for op := range got {
		ops = append(ops, op)
	}
	if want := []int32{syncRequest, ping, ping, ping, syncRequest, ping}; !slices.Equal(ops, want) {
		t.Errorf("sent %v, want %v", ops, want)
	}
}

func TestOutlook(t *testing.T) {
	s := newStore(Options{RootPath: "/root"}, NewHook(nil, nil))
	n := driver.NewNonce()
	s.watches["g"] = &watch{}
	for _, c := range []struct {
		groupVer int32
		known    bool
	}{{0, false}, {1, true}, {-3, false}, {-2, false}, {math.MaxInt32, false}} {
		// The version -1 would fit any.
		data, err := encodeLock(n, "p", time.Second, nil, c.groupVer)
		if err != nil {
			t.Fatal(err)
		}
		held, ok := errors.AsType[*driver.HeldError](s.held("g", node{data, &zk.Stat{Czxid: 5}}))
		if !ok || held.Record.Nonce != n || held.Record.Token != 5 {
			t.Fatalf("%+v", held)
		}
		g, free := s.foreseen("g")
		if known := g.stat != nil; known != c.known || free {
			t.Errorf("version %d: %+v, %v", c.groupVer, g.stat, free)
		}
		if c.known && (g.stat.Version != c.groupVer+1 || resigned(g.data) != n) {
			t.Errorf("version %d: %+v, %s", c.groupVer, g.stat, g.data)
		}
	}
	s.watches["g"].outlook.follow(n, 7)
	s.unforeseen("g")
	if g, _ := s.foreseen("g"); g.stat != nil {
		t.Error("an outlook that did not come true is still there")
	}
}

func TestWireReadsTheGrantedTimeout(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		defer server.Close()
		// Length, version, time-out 4000 ms, session, in two pieces.
		_, _ = server.Write([]byte{0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 15, 160, 1, 2})
		_, _ = server.Write([]byte{3, 4, 5, 6, 7, 8, 0, 0, 0, 16})
	}()
	w := &wire{Conn: client, hook: NewHook(nil, nil), moved: make(chan struct{})}
	if _, err := io.ReadAll(w); err != nil {
		t.Fatal(err)
	}
	if timeout, session := w.granted(); timeout != 4*time.Second || session != 0x0102030405060708 {
		t.Fatalf("%v, %x", timeout, session)
	}
}

func TestFromConnRefuses(t *testing.T) {
	h := NewHook(nil, nil)
	c, _, err := zk.Connect([]string{"127.0.0.1:1"}, time.Second, zk.WithDialer(h.Dial), zk.WithEventCallback(h.Event), zk.WithLogger(silent{}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, f := range []func() (*multilock.Backend, error){
		func() (*multilock.Backend, error) { return FromConn(nil, h, Options{}) },
		func() (*multilock.Backend, error) { return FromConn(c, nil, Options{}) },
		func() (*multilock.Backend, error) { return FromConn(c, h, Options{Servers: []string{"a:1"}}) },
		func() (*multilock.Backend, error) { return FromConn(c, h, Options{SessionTimeout: time.Second}) },
	} {
		if _, err := f(); !errors.Is(err, multilock.ErrInvalid) {
			t.Errorf("%v", err)
		}
	}
}
