// Command fxweb is a web application built with fx. Every replica serves requests;
// one of them, the leader, also keeps a report up to date. Start it several times:
//
//	go run ./examples/fxweb -listen 127.0.0.1:8080
//	curl 127.0.0.1:8080/ready     200 on every healthy replica, leader or not
//	curl 127.0.0.1:8080/leader    who leads, as JSON; ?fresh=1 asks the store
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/fx"

	"github.com/multilock/multilock-go/backends/file"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/health"
	"github.com/multilock/multilock-go/fxmodule"
)

// Config is what the command line says.
type Config struct {
	Listen, Directory string
}

func main() {
	var c Config
	flag.StringVar(&c.Listen, "listen", "127.0.0.1:8080", "address to serve on")
	flag.StringVar(&c.Directory, "dir", filepath.Join(os.TempDir(), "multilock-fxweb"), "directory that all replicas share")
	flag.Parse()
	fx.New(
		fx.NopLogger,
		fx.Supply(c, slog.Default()),
		fx.Provide(NewReporter, func(c Config) file.Options { return file.Options{Directory: c.Directory} }),
		fxmodule.Backend(file.Open),
		fxmodule.AddElection(multilock.Options{Group: "reports"}),
		fxmodule.WhileLeader((*Reporter).Run),
		fx.Invoke(Serve),
	).Run()
}

// Reporter keeps the report up to date while its process leads.
type Reporter struct {
	log   *slog.Logger
	count atomic.Int64
}

// NewReporter is its constructor; what a real one needs, such as a database, would
// be its parameters, and outlive the work.
func NewReporter(log *slog.Logger) *Reporter { return &Reporter{log: log} }

// Run is called by fxmodule whenever this process begins to lead.
func (r *Reporter) Run(ctx context.Context, term multilock.Term) error {
	for ctx.Err() == nil {
		r.log.Info("report", "number", r.count.Add(1), "token", term.Token)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

// Electors are all elections of the application.
type Electors struct {
	fx.In
	All []*multilock.Elector `group:"multilock.electors"`
}

// Serve begins to serve when the application starts, and shuts down with it.
func Serve(lc fx.Lifecycle, down fx.Shutdowner, c Config, r *Reporter, electors Electors) {
	mux := http.NewServeMux()
	mux.Handle("GET /ready", health.Ready(electors.All...))
	mux.Handle("GET /leader", health.Leader(electors.All...))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%d reports made by this replica\n", r.count.Load())
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	lc.Append(fx.Hook{
		OnStart: func(ctx context.Context) error {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Listen)
			if err != nil {
				return err
			}
			slog.Info("serving", "address", l.Addr())
			go func() {
				if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
					slog.Error("serving ended", "error", err)
					_ = down.Shutdown(fx.ExitCode(1))
				}
			}()
			return nil
		},
		OnStop: server.Shutdown,
	})
}
