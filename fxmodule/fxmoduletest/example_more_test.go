package fxmoduletest

import (
	"context"
	"fmt"

	"go.uber.org/fx"

	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/fxmodule"
)

// Config is the configuration of an application.
type Config struct{ Store, Group string }

// Options that come from the application's configuration.
func ExampleAddElectionFrom() {
	done := make(chan struct{})
	run(done,
		fx.Supply(Config{Store: "example", Group: "mail"}),
		fx.Provide(func(c Config) memory.Options { return memory.Options{Name: c.Store} }),
		fxmodule.Backend(memory.Open),
		fxmodule.AddElectionFrom(func(c Config) multilock.Options { return multilock.Options{Group: c.Group} }),
		fx.Invoke(func(e *multilock.Elector) {
			fmt.Println(e.Group())
			close(done)
		}),
	)
	// Output: mail
}

// Two backends, told apart by names, and an election on each.
func ExampleOnBackend() {
	done := make(chan struct{})
	type electors struct {
		fx.In
		Mail    *multilock.Elector `name:"mail"`
		Reports *multilock.Elector `name:"reports"`
	}
	run(done,
		fx.Supply(memory.Options{}),
		fxmodule.Backend(memory.Open, fxmodule.Name("near")),
		fxmodule.Backend(memory.Open, fxmodule.Name("far")),
		fxmodule.AddElection(multilock.Options{Group: "mail"}, fxmodule.Name("mail"), fxmodule.OnBackend("near")),
		fxmodule.AddElection(multilock.Options{Group: "reports"}, fxmodule.Name("reports"), fxmodule.OnBackend("far")),
		fx.Invoke(func(e electors) {
			fmt.Println(e.Mail.Backend() != e.Reports.Backend())
			close(done)
		}),
	)
	// Output: true
}

// An election that only its own module sees.
func ExamplePrivate() {
	done := make(chan struct{})
	run(done,
		fx.Supply(memory.Options{}),
		fxmodule.Backend(memory.Open),
		fx.Module("mail",
			fxmodule.AddElection(multilock.Options{Group: "mail"}, fxmodule.Private()),
			fxmodule.WhileLeader((*Mailer).Run),
			fx.Provide(func() *Mailer { return &Mailer{done} }),
		),
	)
	// Output:
	// sending mail for mail
	// done
}

// Several works of one election, without fx.
func ExampleNewElection() {
	ctx := context.Background()
	b, err := memory.Open(ctx, memory.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close(ctx)
	e, err := multilock.New(b, multilock.Options{Group: "mail"})
	if err != nil {
		fmt.Println(err)
		return
	}
	election := fxmodule.NewElection(e, nil)
	done := make(chan struct{})
	election.Add((&Mailer{done}).Run)
	if err := election.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	<-done
	fmt.Println(election.Stop(ctx), election.Elector().IsLeader())
	// Output:
	// sending mail for mail
	// done
	// <nil> false
}
