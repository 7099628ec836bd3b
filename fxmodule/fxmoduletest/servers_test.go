package fxmoduletest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/fx"

	"github.com/multilock/multilock-go/backends/postgres"
	"github.com/multilock/multilock-go/backends/redis"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/fxmodule"
	pgserver "github.com/multilock/multilock-go/testservers/postgres"
	redisserver "github.com/multilock/multilock-go/testservers/redis"
)

// TestHandOverOnRedis has options given as a value, options from the container, and the
// application's own client, which stays open.
func TestHandOverOnRedis(t *testing.T) {
	s := redisserver.Start(t, redisserver.Options{})
	// A server that has just begun may have lost leases: it is waited for, but not here.
	o := redis.Options{Addrs: []string{s.Addr}, Grace: 1}
	t.Run("value", func(t *testing.T) {
		handOver(t, fxmodule.AddLeaderElection(redis.Open, o, multilock.Options{Group: "value"}))
	})
	t.Run("container", func(t *testing.T) {
		handOver(t, fx.Options(fx.Supply(o), fxmodule.Backend(redis.Open), fxmodule.AddElection(multilock.Options{Group: "container"})))
	})
	t.Run("client", func(t *testing.T) {
		c := goredis.NewClient(&goredis.Options{Addr: s.Addr})
		defer c.Close()
		handOver(t, fx.Options(
			fx.Supply(c),
			fxmodule.BackendFrom(func(c *goredis.Client) (*multilock.Backend, error) {
				return redis.FromClient(c, redis.Options{Grace: 1})
			}),
			fxmodule.AddElection(multilock.Options{Group: "client"}),
		))
		if err := c.Ping(t.Context()).Err(); err != nil {
			t.Errorf("the application's client after its applications stopped: %v", err)
		}
	})
}

func TestHandOverOnPostgres(t *testing.T) {
	s := pgserver.Start(t, pgserver.Options{})
	url := s.URL(pgserver.User, pgserver.Password, pgserver.Database)
	t.Run("value", func(t *testing.T) {
		handOver(t, fxmodule.AddLeaderElection(postgres.Open, postgres.Options{ConnString: url}, multilock.Options{Group: "value"}))
	})
	t.Run("pool", func(t *testing.T) {
		pool, err := pgxpool.New(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		handOver(t, fx.Options(
			fx.Supply(pool),
			fxmodule.BackendFrom(func(p *pgxpool.Pool) (*multilock.Backend, error) { return postgres.FromPool(p, postgres.Options{}) }),
			fxmodule.AddElection(multilock.Options{Group: "pool"}),
		))
		if err := pool.Ping(t.Context()); err != nil {
			t.Errorf("the application's pool after its applications stopped: %v", err)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		wrong := s.URL(pgserver.User, "wrong-3f1a", pgserver.Database)
		app := fx.New(fx.NopLogger, fxmodule.AddLeaderElection(postgres.Open, postgres.Options{ConnString: wrong}, multilock.Options{Group: "g"}))
		err := app.Start(t.Context())
		if !errors.Is(err, multilock.ErrMisconfigured) {
			t.Fatalf("Start = %v", err)
		}
		if strings.Contains(err.Error(), "wrong-3f1a") {
			t.Errorf("the error tells the password: %v", err)
		}
		_ = app.Stop(context.Background())
	})
}
