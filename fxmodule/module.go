package fxmodule

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"go.uber.org/fx"

	multilock "github.com/multilock/multilock-go/core"
)

// openLimit bounds opening a backend, for which fx has no time limit of its own.
const openLimit = 10 * time.Second

// Option is an option of the functions of this package.
type Option interface{ apply(*config) }

type config struct {
	name, onBackend string
	private         bool
}

type option func(*config)

func (f option) apply(c *config) { f(c) }

// Name tells several backends or elections of one application apart: it is the
// name tag of what is provided, and of the election that WhileLeader looks for. It
// has nothing to do with Options.Group, the name in the store.
func Name(name string) Option { return option(func(c *config) { c.name = name }) }

// OnBackend makes an election use the backend with this Name.
func OnBackend(name string) Option { return option(func(c *config) { c.onBackend = name }) }

// Private keeps an election inside the fx.Module it is added in, so that several
// modules can have one each without names. Its elector is in the value group all
// the same. It cannot be combined with Name.
func Private() Option { return option(func(c *config) { c.private = true }) }

func configure(opts []Option) (c config, err error) {
	for _, o := range opts {
		o.apply(&c)
	}
	if c.private && c.name != "" {
		return c, errors.New("fxmodule: Private and Name exclude each other: a private election needs no name")
	}
	return c, nil
}

func tag(name string) string { return `name:"` + name + `"` }

// AddLeaderElection opens a backend and takes part in one election on it. It is
// Backend and AddElection in one line; Name names both.
func AddLeaderElection[O any](open func(context.Context, O) (*multilock.Backend, error), backend O, election multilock.Options, opts ...Option) fx.Option {
	c, err := configure(opts)
	if err != nil {
		return fx.Error(err)
	}
	if c.onBackend != "" {
		return fx.Error(errors.New("fxmodule: AddLeaderElection opens a backend of its own; use AddElection with OnBackend"))
	}
	return fx.Options(
		provideBackend(c, func(lc fx.Lifecycle) (*multilock.Backend, error) { return opened(lc, open, backend) }),
		addElection(c, c.name, func(struct{}) multilock.Options { return election }, struct{}{}),
	)
}

// Backend provides a *multilock.Backend, opened with options of type O from the
// container and closed after its elections.
func Backend[O any](open func(context.Context, O) (*multilock.Backend, error), opts ...Option) fx.Option {
	c, err := configure(opts)
	if err != nil {
		return fx.Error(err)
	}
	return provideBackendFrom(c, func(lc fx.Lifecycle, o O) (*multilock.Backend, error) { return opened(lc, open, o) })
}

// BackendFrom provides a *multilock.Backend made by constructor from a D of the
// container, for instance over a client that is there already. D may be a struct
// with fx.In. The backend is closed after its elections; what it leaves open, such
// as that client, is its own affair.
func BackendFrom[D any](constructor func(D) (*multilock.Backend, error), opts ...Option) fx.Option {
	c, err := configure(opts)
	if err != nil {
		return fx.Error(err)
	}
	return provideBackendFrom(c, func(lc fx.Lifecycle, d D) (*multilock.Backend, error) {
		b, err := constructor(d)
		return closed(lc, b, err)
	})
}

// AddElection takes part in an election on the backend of the container.
func AddElection(o multilock.Options, opts ...Option) fx.Option {
	c, err := configure(opts)
	if err != nil {
		return fx.Error(err)
	}
	return addElection(c, c.onBackend, func(struct{}) multilock.Options { return o }, struct{}{})
}

// AddElectionFrom is AddElection with options computed from a D of the container.
func AddElectionFrom[D any](options func(D) multilock.Options, opts ...Option) fx.Option {
	c, err := configure(opts)
	if err != nil {
		return fx.Error(err)
	}
	return addElectionFrom(c, c.onBackend, options)
}

// WhileLeader runs work whenever this process leads, with a D of the container: a
// component whose method is given as a method expression, as in
// WhileLeader((*Reporter).Run), or a struct with fx.In. Its context ends with the
// term; see Election.Add for what its return means.
func WhileLeader[D any](work func(d D, ctx context.Context, term multilock.Term) error, opts ...Option) fx.Option {
	c, err := configure(opts)
	if err != nil {
		return fx.Error(err)
	}
	if c.name == "" {
		return fx.Invoke(func(lc fx.Lifecycle, x *Election, d D) { add(lc, x, d, work) })
	}
	return fx.Module("multilock.while-leader."+c.name,
		fx.Provide(fx.Annotate(func(x *Election) workBox { return workBox{x} }, fx.ParamTags(tag(c.name))), fx.Private),
		fx.Invoke(func(lc fx.Lifecycle, box workBox, d D) { add(lc, box.election, d, work) }),
	)
}

func add[D any](lc fx.Lifecycle, x *Election, d D, work func(D, context.Context, multilock.Term) error) {
	x.Add(func(ctx context.Context, term multilock.Term) error { return work(d, ctx, term) })
	x.hook(lc)
}

// Boxes carry a value without a name through a nested module to the identity
// function that names it: fx can name results only by reflection, whose errors do
// not tell where a function is, so nothing else goes through that.
type (
	backendBox  struct{ backend *multilock.Backend } // made
	usedBox     struct{ backend *multilock.Backend } // looked up; one type for both would be a cycle to fx
	electionBox struct{ election *Election }
	workBox     struct{ election *Election }
)

func opened[O any](lc fx.Lifecycle, open func(context.Context, O) (*multilock.Backend, error), o O) (*multilock.Backend, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openLimit)
	defer cancel()
	b, err := open(ctx, o)
	return closed(lc, b, err)
}

// closed has a backend closed with the application.
func closed(lc fx.Lifecycle, b *multilock.Backend, err error) (*multilock.Backend, error) {
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StopHook(b.Close))
	return b, nil
}

func provideBackend(c config, constructor func(fx.Lifecycle) (*multilock.Backend, error)) fx.Option {
	return provideBackendFrom(c, func(lc fx.Lifecycle, _ fx.Shutdowner) (*multilock.Backend, error) { return constructor(lc) })
}

func provideBackendFrom[D any](c config, constructor func(fx.Lifecycle, D) (*multilock.Backend, error)) fx.Option {
	switch {
	case c.private:
		return fx.Provide(constructor, fx.Private)
	case c.name == "":
		return fx.Provide(constructor)
	}
	return fx.Module("multilock.backend."+c.name,
		fx.Provide(func(lc fx.Lifecycle, d D) (backendBox, error) {
			b, err := constructor(lc, d)
			return backendBox{b}, err
		}, fx.Private),
		fx.Provide(fx.Annotate(func(x backendBox) *multilock.Backend { return x.backend }, fx.ResultTags(tag(c.name)))),
	)
}

// found is what an election takes from the container if it is there.
type found struct {
	fx.In

	Logger    *slog.Logger         `optional:"true"`
	Observers []multilock.Observer `group:"multilock.observers"`
}

// grouped puts an elector into the group of all.
type grouped struct {
	fx.Out

	Elector *multilock.Elector `group:"multilock.electors"`
}

func newElection(lc fx.Lifecycle, b *multilock.Backend, o multilock.Options, f found) (*Election, error) {
	if o.Logger == nil {
		o.Logger = f.Logger
	}
	if list := slices.DeleteFunc(f.Observers, func(x multilock.Observer) bool { return x == nil }); o.Observer == nil && len(list) > 0 {
		o.Observer = multilock.Observers(list...)
	}
	e, err := multilock.New(b, o)
	if err != nil {
		return nil, err
	}
	x := NewElection(e, o.Logger)
	x.hook(lc)
	return x, nil
}

func addElection[D any](c config, backend string, options func(D) multilock.Options, d D) fx.Option {
	return addElectionFrom(c, backend, func(fx.Shutdowner) multilock.Options { return options(d) })
}

func addElectionFrom[D any](c config, backend string, options func(D) multilock.Options) fx.Option {
	elector := func(x *Election) *multilock.Elector { return x.Elector() }
	leadership := func(x *Election) Leadership { return x.Elector() }
	group := func(x *Election) grouped { return grouped{Elector: x.Elector()} }
	begin := fx.Invoke(func(*Election) {}) // an election that nobody asks for takes part all the same

	if c.name == "" && backend == "" {
		constructor := func(lc fx.Lifecycle, b *multilock.Backend, d D, f found) (*Election, error) {
			return newElection(lc, b, options(d), f)
		}
		if c.private {
			return fx.Options(fx.Provide(constructor, elector, leadership, fx.Private), fx.Provide(group), begin)
		}
		return fx.Options(fx.Provide(constructor, elector, leadership, group), begin)
	}

	from := fx.Annotate(func(b *multilock.Backend) usedBox { return usedBox{b} }, fx.ParamTags(tagOrNone(backend)))
	boxed := func(lc fx.Lifecycle, b usedBox, d D, f found) (electionBox, error) {
		x, err := newElection(lc, b.backend, options(d), f)
		return electionBox{x}, err
	}
	name := fx.ResultTags(tagOrNone(c.name))
	return fx.Module("multilock.election."+c.name,
		fx.Provide(from, boxed, fx.Private),
		fx.Provide(
			fx.Annotate(func(x electionBox) *Election { return x.election }, name),
			fx.Annotate(func(x electionBox) *multilock.Elector { return x.election.Elector() }, name),
			fx.Annotate(func(x electionBox) Leadership { return x.election.Elector() }, name),
			func(x electionBox) grouped { return grouped{Elector: x.election.Elector()} },
		),
		fx.Invoke(func(electionBox) {}),
	)
}

func tagOrNone(name string) string {
	if name == "" {
		return ""
	}
	return tag(name)
}
