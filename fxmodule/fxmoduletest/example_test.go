package fxmoduletest

import (
	"context"
	"fmt"

	"go.uber.org/fx"

	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/fxmodule"
)

// run starts an application, waits until one of its works calls done, and stops it.
func run(done <-chan struct{}, opts ...fx.Option) {
	app := fx.New(append(opts, fx.NopLogger)...)
	if err := app.Start(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	<-done
	if err := app.Stop(context.Background()); err != nil {
		fmt.Println(err)
	}
}

// Mailer is a component of an application.
type Mailer struct{ done chan struct{} }

// Run sends mail until its context ends.
func (m *Mailer) Run(ctx context.Context, term multilock.Term) error {
	fmt.Println("sending mail for", term.Group)
	close(m.done)
	<-ctx.Done() // the term is over, or the application stops
	fmt.Println("done")
	return nil
}

// One election in one line, and a component that works only while leading.
func Example() {
	done := make(chan struct{})
	run(done,
		fxmodule.AddLeaderElection(memory.Open, memory.Options{}, multilock.Options{Group: "mail"}),
		fxmodule.WhileLeader((*Mailer).Run),
		fx.Provide(func() *Mailer { return &Mailer{done} }),
	)
	// Output:
	// sending mail for mail
	// done
}

// Several elections share one backend and are told apart by names.
func ExampleAddElection() {
	done := make(chan struct{})
	type electors struct {
		fx.In
		Mail    *multilock.Elector `name:"mail"`
		Reports *multilock.Elector `name:"reports"`
	}
	run(done,
		fx.Supply(memory.Options{}),
		fxmodule.Backend(memory.Open),
		fxmodule.AddElection(multilock.Options{Group: "mail"}, fxmodule.Name("mail")),
		fxmodule.AddElection(multilock.Options{Group: "reports"}, fxmodule.Name("reports")),
		fx.Invoke(func(e electors) {
			fmt.Println(e.Mail.Group(), e.Reports.Group(), e.Mail.Backend() == e.Reports.Backend())
			close(done)
		}),
	)
	// Output: mail reports true
}

// A backend over something that is in the container already, here a store; with
// Redis or PostgreSQL it would be the application's own client.
func ExampleBackendFrom() {
	done := make(chan struct{})
	run(done,
		fx.Provide(memory.NewStore),
		fxmodule.BackendFrom(func(s *memory.Store) (*multilock.Backend, error) {
			return memory.Open(context.Background(), memory.Options{Store: s})
		}),
		fxmodule.AddElection(multilock.Options{Group: "mail"}),
		fxmodule.WhileLeader(func(l struct {
			fx.In
			Leadership fxmodule.Leadership
		}, ctx context.Context, term multilock.Term) error {
			fmt.Println("leads:", l.Leadership.IsLeader())
			close(done)
			<-ctx.Done()
			return nil
		}),
	)
	// Output: leads: true
}
