package fxmodule_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/fxmodule"
)

// quiet keeps fx from logging.
var quiet = fx.WithLogger(func() fxevent.Logger { return fxevent.NopLogger })

func start(t *testing.T, opts ...fx.Option) *fx.App {
	t.Helper()
	app := fx.New(append(opts, quiet)...)
	if err := app.Err(); err != nil {
		t.Fatal(err)
	}
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return app
}

func stop(t *testing.T, app *fx.App) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := app.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// eventually waits for a condition; the limit is generous, since machines are slow.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20s: %s", what)
		}
	}
}

func options(group string) multilock.Options { return multilock.Options{Group: group} }

// db stands for something the work depends on.
type db struct{ j *journal }

func newDB(lc fx.Lifecycle, j *journal) *db {
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error { j.add("db up"); return nil },
		OnStop:  func(context.Context) error { j.add("db down"); return nil },
	})
	return &db{j}
}

type reporter struct{ db *db }

func newReporter(d *db) *reporter { return &reporter{d} }

func (r *reporter) Run(ctx context.Context, term multilock.Term) error {
	r.db.j.add("work begins")
	<-ctx.Done()
	time.Sleep(10 * time.Millisecond)
	r.db.j.add("work drained")
	return nil
}

func TestOrderOfStartAndStop(t *testing.T) {
	j := &journal{}
	var e *multilock.Elector
	app := start(t,
		fx.Supply(j), fx.Provide(newDB, newReporter),
		fxmodule.AddLeaderElection(openFake, fakeOptions{newStore(j)}, options("g")),
		fxmodule.WhileLeader((*reporter).Run),
		fx.Populate(&e),
	)
	eventually(t, "the work begins", func() bool { return len(j.all()) == 2 })
	if !e.IsLeader() {
		t.Error("does not lead")
	}
	stop(t, app)
	if got := strings.Join(j.all(), ", "); got != "db up, work begins, work drained, resigned g, db down, backend closed" {
		t.Errorf("order: %s", got)
	}
}

func TestOptionsFromTheContainer(t *testing.T) {
	type config struct{ group string }
	j := &journal{}
	var x *fxmodule.Election
	var l fxmodule.Leadership
	app := start(t,
		fx.Supply(j, config{"from-config"}, fakeOptions{newStore(j)}),
		fxmodule.Backend(openFake),
		fxmodule.AddElectionFrom(func(c config) multilock.Options { return options(c.group) }),
		fx.Populate(&x, &l),
	)
	eventually(t, "leads", l.IsLeader)
	if x.Elector().Group() != "from-config" {
		t.Errorf("group %q", x.Elector().Group())
	}
	stop(t, app)
}

func TestOwnClientAndStructOfDependencies(t *testing.T) {
	type deps struct {
		fx.In
		Journal *journal
		Store   *fakeStore
	}
	j := &journal{}
	works := make(chan uint64, 1)
	app := start(t,
		fx.Supply(j, newStore(j)),
		fxmodule.BackendFrom(func(d deps) (*multilock.Backend, error) { return openFake(context.Background(), fakeOptions{d.Store}) }),
		fxmodule.AddElection(options("g")),
		fxmodule.WhileLeader(func(d deps, ctx context.Context, term multilock.Term) error {
			d.Journal.add("ad hoc")
			works <- term.Token
			<-ctx.Done()
			return nil
		}),
	)
	if token := <-works; token != 1 {
		t.Errorf("token %d", token)
	}
	stop(t, app)
	if got := j.all(); got[len(got)-1] != "backend closed" {
		t.Errorf("journal %v", got)
	}
}

func TestSeveralElections(t *testing.T) {
	j := &journal{}
	type named struct {
		fx.In
		Nightly *multilock.Elector   `name:"nightly"`
		Mail    fxmodule.Leadership  `name:"mail"`
		Other   *multilock.Backend   `name:"other"`
		All     []*multilock.Elector `group:"multilock.electors"`
	}
	var got named
	var worked atomic.Int32
	app := start(t,
		fx.Supply(j, fakeOptions{newStore(j)}), fx.Provide(newDB, newReporter),
		fxmodule.Backend(openFake),
		fxmodule.AddElection(options("nightly-group"), fxmodule.Name("nightly")),
		fxmodule.AddElection(options("mail-group"), fxmodule.Name("mail")),
		fxmodule.WhileLeader((*reporter).Run, fxmodule.Name("nightly")),
		fxmodule.AddLeaderElection(openFake, fakeOptions{newStore(j)}, options("third"), fxmodule.Name("other")),
		fxmodule.AddElection(options("fourth"), fxmodule.Name("fourth"), fxmodule.OnBackend("other")),
		fx.Module("feature",
			fxmodule.AddElection(options("feature"), fxmodule.Private()),
			fxmodule.WhileLeader(func(j *journal, ctx context.Context, _ multilock.Term) error {
				worked.Add(1)
				<-ctx.Done()
				return nil
			}),
		),
		fx.Populate(&got),
	)
	if len(got.All) != 5 {
		t.Errorf("%d electors in the group", len(got.All))
	}
	for _, e := range got.All {
		eventually(t, e.Group()+" leads", e.IsLeader)
	}
	eventually(t, "the private work runs", func() bool { return worked.Load() == 1 })
	if got.Nightly.Group() != "nightly-group" || !got.Mail.IsLeader() {
		t.Error("names are mixed up")
	}
	for _, e := range got.All {
		if e.Group() == "fourth" && e.Backend() != got.Other {
			t.Error("OnBackend was ignored")
		}
	}
	stop(t, app)
	closed := 0
	for _, line := range j.all() {
		if line == "backend closed" {
			closed++
		}
	}
	if closed != 2 {
		t.Errorf("%d backends closed", closed)
	}
}

func TestLoggerAndObserversOfTheContainer(t *testing.T) {
	j := &journal{}
	var log bytes.Buffer
	seen := observer{make(chan multilock.Observation, 1000)}
	var b *multilock.Backend
	app := start(t,
		fx.Supply(j, slog.New(slog.NewTextHandler(&log, nil))),
		fx.Supply(fx.Annotate(seen, fx.As(new(multilock.Observer)), fx.ResultTags(`group:"multilock.observers"`))),
		fxmodule.AddLeaderElection(openFake, fakeOptions{newStore(j)}, multilock.Options{Group: "g", DrainTimeout: time.Minute}),
		fx.Populate(&b),
	)
	for o := range seen.ch {
		if o.Op == "change" && o.Change.Kind == multilock.Acquired {
			break
		}
	}
	stop(t, app)
	for _, want := range []string{"multilock: leading", "DrainTimeout does not fit"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

type observer struct{ ch chan multilock.Observation }

func (o observer) Observe(x multilock.Observation) { o.ch <- x }

func TestManualStart(t *testing.T) {
	j := &journal{}
	var e *multilock.Elector
	app := start(t,
		fx.Supply(j),
		fxmodule.AddLeaderElection(openFake, fakeOptions{newStore(j)}, multilock.Options{Group: "g", ManualStart: true}),
		fx.Populate(&e),
	)
	time.Sleep(50 * time.Millisecond)
	if e.Status().State != multilock.StateStopped {
		t.Error("started although ManualStart is set")
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "leads", e.IsLeader)
	stop(t, app)
	if e.Status().State != multilock.StateStopped {
		t.Error("not stopped with the application")
	}
}

func TestTwoApplicationsHandOver(t *testing.T) {
	j := &journal{}
	store := newStore(j)
	var a, b *multilock.Elector
	one := start(t, fxmodule.AddLeaderElection(openFake, fakeOptions{store}, options("g")), fx.Populate(&a))
	eventually(t, "the first leads", a.IsLeader)
	two := start(t, fxmodule.AddLeaderElection(openFake, fakeOptions{store}, options("g")), fx.Populate(&b))
	if b.IsLeader() {
		t.Error("both lead")
	}
	stop(t, one)
	eventually(t, "the second leads", b.IsLeader)
	stop(t, two)
}

func TestWorkThatFailsGivesOthersAChance(t *testing.T) {
	j := &journal{}
	var tries atomic.Int32
	var e *multilock.Elector
	app := start(t, fx.Supply(j),
		fxmodule.AddLeaderElection(openFake, fakeOptions{newStore(j)}, options("g")),
		fxmodule.WhileLeader(func(_ *journal, ctx context.Context, _ multilock.Term) error {
			if tries.Add(1) == 1 {
				return errors.New("no database")
			}
			return nil // done for this term
		}),
		fx.Populate(&e),
	)
	eventually(t, "the work runs again after an election", func() bool { return tries.Load() == 2 })
	eventually(t, "leads", e.IsLeader)
	time.Sleep(50 * time.Millisecond)
	if !e.IsLeader() || tries.Load() != 2 {
		t.Error("work that is done ended the term")
	}
	stop(t, app)
	if got := strings.Join(j.all(), ", "); got != "resigned g, resigned g, backend closed" {
		t.Errorf("journal: %s", got)
	}
}

func TestStopWhileCampaigningAndWorkThatNeverReturns(t *testing.T) {
	j := &journal{}
	store := newStore(j)
	release := make(chan struct{})
	defer close(release)
	begun := make(chan struct{})
	app := start(t, fx.Supply(j), fx.StopTimeout(time.Second),
		fxmodule.AddLeaderElection(openFake, fakeOptions{store}, options("g")),
		fxmodule.WhileLeader(func(*journal, context.Context, multilock.Term) error { close(begun); <-release; return nil }),
	)
	<-begun
	follower := start(t, fxmodule.AddLeaderElection(openFake, fakeOptions{store}, options("g")))
	stop(t, follower) // it campaigns

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := app.Stop(ctx)
	if !errors.Is(err, multilock.ErrDrainTimeout) {
		t.Errorf("Stop = %v", err)
	}
	if ctx.Err() != nil {
		t.Error("no time was left for the hooks of others")
	}
	for _, line := range j.all() {
		if line == "resigned g" {
			t.Error("resigned under work that never returns")
		}
	}
}

func TestErrorsAreReadable(t *testing.T) {
	j := &journal{}
	for name, c := range map[string]struct {
		opts []fx.Option
		want string
	}{
		"no backend":     {[]fx.Option{fxmodule.AddElection(options("g"))}, "missing type: *multilock.Backend"},
		"no options":     {[]fx.Option{fxmodule.Backend(openFake), fxmodule.AddElection(options("g"))}, "missing type: fxmodule_test.fakeOptions"},
		"no election":    {[]fx.Option{fx.Supply(j), fx.Provide(newDB, newReporter), fxmodule.WhileLeader((*reporter).Run)}, "missing type: *fxmodule.Election"},
		"wrong name":     {[]fx.Option{fx.Supply(j), fx.Provide(newDB, newReporter), fxmodule.WhileLeader((*reporter).Run, fxmodule.Name("nightly"))}, `*fxmodule.Election[name="nightly"]`},
		"no dependency":  {[]fx.Option{fxmodule.AddLeaderElection(openFake, fakeOptions{newStore(j)}, options("g")), fxmodule.WhileLeader((*reporter).Run)}, "missing type: *fxmodule_test.reporter"},
		"bad options":    {[]fx.Option{fxmodule.AddLeaderElection(openFake, fakeOptions{newStore(j)}, options("a/b"))}, "Options.Group"},
		"named private":  {[]fx.Option{fxmodule.AddElection(options("g"), fxmodule.Private(), fxmodule.Name("x"))}, "Private and Name exclude each other"},
		"two unnamed":    {[]fx.Option{fxmodule.AddLeaderElection(openFake, fakeOptions{newStore(j)}, options("g")), fxmodule.AddLeaderElection(openFake, fakeOptions{newStore(j)}, options("h"))}, "already provided"},
		"own on backend": {[]fx.Option{fxmodule.AddLeaderElection(openFake, fakeOptions{newStore(j)}, options("g"), fxmodule.OnBackend("x"))}, "AddElection with OnBackend"},
	} {
		err := fx.New(append(c.opts, quiet)...).Err()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v lacks %q", name, err, c.want)
		}
	}
}

func TestStartFailsOnAMisconfiguration(t *testing.T) {
	store := newStore(nil)
	store.err = driver.Misconfigured(errors.New("password refused"), "set another")
	app := fx.New(fxmodule.AddLeaderElection(openFake, fakeOptions{store}, options("g")), quiet)
	err := app.Start(t.Context())
	if !errors.Is(err, multilock.ErrMisconfigured) || !strings.Contains(err.Error(), "password refused") {
		t.Errorf("Start = %v", err)
	}
}

// TestPanicInWork runs itself in a process of its own, which the panic must end
// after the term was resigned.
func TestPanicInWork(t *testing.T) {
	if os.Getenv("FXMODULE_TEST_PANIC") != "" {
		j := &journal{echo: os.Stdout}
		start(t, fx.Supply(j),
			fxmodule.AddLeaderElection(openFake, fakeOptions{newStore(j)}, options("g")),
			fxmodule.WhileLeader(func(*journal, context.Context, multilock.Term) error { panic("boom") }),
		)
		time.Sleep(20 * time.Second)
		os.Exit(0)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPanicInWork$")
	cmd.Env = append(os.Environ(), "FXMODULE_TEST_PANIC=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "panic: boom") {
		t.Errorf("the process ended with %v:\n%s", err, out)
	}
	if resigned, ended := bytes.Index(out, []byte("resigned g")), bytes.Index(out, []byte("panic: boom")); resigned < 0 || resigned > ended {
		t.Errorf("the term was not resigned before the process ended:\n%s", out)
	}
}
