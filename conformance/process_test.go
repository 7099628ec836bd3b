package conformance

import (
	"context"
	"errors"
	"net"
	"net/rpc"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/multilock/multilock-go/conformance/internal/model"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// The model, served to child processes over a socket, so that the rules about
// processes are tested like the others.

func TestMain(m *testing.M) { os.Exit(mainCode(m, openServed, false, nil)) }

// Answer is a reply with its error.
type Answer struct {
	Grant  driver.Grant
	Record driver.Record
	Renew  []driver.RenewResult
	Errs   []string // of each renewal
	Err    string
}

var sentinels = []error{driver.ErrLost, driver.ErrNoLeader, driver.ErrResigned, driver.ErrNotApplied, driver.ErrClosed}

func (a *Answer) fail(err error) {
	var held *driver.HeldError
	if errors.As(err, &held) {
		a.Record = held.Record
		a.Err = "held"
		return
	}
	a.Err = encodeError(err)
}

func (a *Answer) err() error {
	if a.Err == "held" {
		return &driver.HeldError{Record: a.Record}
	}
	return decodeError(a.Err)
}

func encodeError(err error) string {
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return s.Error()
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func decodeError(text string) error {
	for _, s := range sentinels {
		if s.Error() == text {
			return s
		}
	}
	if text != "" {
		return errors.New(text)
	}
	return nil
}

// Served is the methods a child may call, over one client of the model.
type Served struct{ d driver.Driver }

func (s *Served) Acquire(req driver.AcquireRequest, out *Answer) error {
	g, err := s.d.Acquire(context.Background(), req)
	out.Grant = g
	out.fail(err)
	return nil
}

func (s *Served) Renew(reqs []driver.RenewRequest, out *Answer) error {
	s.d.Renew(context.Background(), reqs, func(res driver.RenewResult) {
		out.Errs = append(out.Errs, encodeError(res.Err))
		res.Err = nil
		out.Renew = append(out.Renew, res)
	})
	return nil
}

func (s *Served) Resign(t driver.Term, out *Answer) error {
	out.fail(s.d.Resign(context.Background(), t))
	return nil
}

func (s *Served) Leader(group string, out *Answer) error {
	rec, err := s.d.Leader(context.Background(), group)
	out.Record = rec
	out.fail(err)
	return nil
}

// serve lets other processes reach the store.
func serve(tb TB, s *model.Store) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				d := s.Open()
				defer d.Close()
				r := rpc.NewServer()
				if r.RegisterName("Store", &Served{d}) == nil {
					r.ServeConn(c)
				}
			}()
		}
	}()
	return l.Addr().String()
}

// remote is a driver on the other end.
type remote struct{ c *rpc.Client }

func (r *remote) call(ctx context.Context, method string, args any) (*Answer, error) {
	var out Answer
	call := r.c.Go("Store."+method, args, &out, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return &out, call.Error
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *remote) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	a, err := r.call(ctx, "Acquire", req)
	if err != nil {
		return driver.Grant{}, err
	}
	return a.Grant, a.err()
}

func (r *remote) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	a, err := r.call(ctx, "Renew", reqs)
	if err != nil {
		return // unreported is uncertain
	}
	for i, res := range a.Renew {
		res.Err = decodeError(a.Errs[i])
		report(res)
	}
}

func (r *remote) Resign(ctx context.Context, t driver.Term) error {
	a, err := r.call(ctx, "Resign", t)
	if err != nil {
		return err
	}
	return a.err()
}

func (r *remote) Leader(ctx context.Context, group string) (driver.Record, error) {
	a, err := r.call(ctx, "Leader", group)
	if err != nil {
		return driver.Record{}, err
	}
	return a.Record, a.err()
}

func (r *remote) Close() error { _ = r.c.Close(); return nil }

// openServed opens a served model; the query says how the elector is broken.
func openServed(_ context.Context, raw string) (*multilock.Backend, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	for _, x := range brokenElectors() {
		if x.what == u.Query().Get("elector") {
			childElector = x.construct
		}
	}
	c, err := rpc.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	info := model.Info()
	info.PushOnResign, info.PushOnExpiry, info.ReadBatch, info.AcquireBatch = false, false, 0, 0
	return multilock.NewBackend(&remote{c}, info)
}

// servedHarness is modelHarness for several processes, in real time.
func servedHarness(bug model.Bug, elector string) func(TB) Harness {
	return func(tb TB) Harness {
		s := model.New(bug)
		h := Harness{
			Name: "served model", TTL: time.Second,
			NewDriver: func(TB) (driver.Driver, driver.Info) { return s.Open(), model.Info() },
			URL:       "model://" + serve(tb, s) + "?" + url.Values{"elector": {elector}}.Encode(),
			Missing:   map[Power]string{},
		}
		for _, p := range Powers() {
			if p != PowerProcess {
				h.Missing[p] = "not needed here"
			}
		}
		return h
	}
}

// brokenProcess is a broken store, or a broken elector in a process of its own,
// and the rule that is to catch it.
type brokenProcess struct {
	rule    string
	bug     model.Bug
	elector string
}

func brokenProcesses() []brokenProcess {
	return []brokenProcess{
		{"FAIL-exit", model.NoWake, ""},
		{"FAIL-exit", model.ResignDoesNotFree, ""},
		{"FAIL-kill", model.ExpiresLate, ""},
		{"FAIL-stop", model.None, "a leader that ignores errors of its renewals"},
		{"FAIL-stop", model.None, "a closed Backend's elector still says that it leads"},
	}
}

func TestProcesses(t *testing.T) {
	for _, rule := range processRules {
		t.Run("reference/"+rule.ID, func(t *testing.T) {
			t.Parallel()
			if res := Execute(t, rule.ID, servedHarness(model.None, "")); res.Outcome != Pass {
				t.Errorf("%s: %s: %s", res.Rule, res.Outcome, res.Why)
			}
		})
	}
	for _, x := range brokenProcesses() {
		t.Run(x.rule+"/"+strings.TrimSpace(string(x.bug)+" "+x.elector), func(t *testing.T) {
			t.Parallel()
			res := Execute(&muted{T: t}, x.rule, servedHarness(x.bug, x.elector))
			if res.Outcome != Fail || strings.Contains(res.Why, "the child process leads") {
				t.Errorf("rule %s says %s (%s), want fail", x.rule, res.Outcome, res.Why)
			} else {
				t.Logf("caught: %s", res.Why)
			}
		})
	}
}
