package conformancetest

import (
	"testing"

	"github.com/multilock/multilock-go/backends/postgres"
	"github.com/multilock/multilock-go/core/driver"
	server "github.com/multilock/multilock-go/testservers/postgres"
)

// One client takes a group and gives it back, over and over.
func BenchmarkAcquireResign(b *testing.B) {
	s := server.Start(b, server.Options{})
	d := open(b, postgres.Options{ConnString: s.URL(server.User, server.Password, server.Database)})
	for b.Loop() {
		req := request("g")
		g, err := d.Acquire(b.Context(), req)
		must(b, err)
		must(b, d.Resign(b.Context(), driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}))
	}
}

// A follower's attempt on a group that is held.
func BenchmarkHeld(b *testing.B) {
	s := server.Start(b, server.Options{})
	d := open(b, postgres.Options{ConnString: s.URL(server.User, server.Password, server.Database)})
	_, err := d.Acquire(b.Context(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: driver.NewNonce(), TTL: 1e12})
	must(b, err)
	for b.Loop() {
		if _, err := d.Acquire(b.Context(), request("g")); err == nil {
			b.Fatal("granted twice")
		}
	}
}
