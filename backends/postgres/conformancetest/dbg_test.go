package conformancetest

import (
	"context"
	"testing"
	"time"
	"fmt"

	"github.com/multilock/multilock-go/backends/postgres"
	multilock "github.com/multilock/multilock-go/core"
	server "github.com/multilock/multilock-go/testservers/postgres"
)

func TestDbg(t *testing.T) {
	s := server.Start(t, server.Options{})
	url := s.URL(server.User, server.Password, server.Database)
	var es []*multilock.Elector
	var bs []*multilock.Backend
	t0 := time.Now()
	for i := range 3 {
		b, err := postgres.Open(t.Context(), postgres.Options{ConnString: url})
		must(t, err)
		bs = append(bs, b)
		t.Cleanup(func() { _ = b.Close(context.Background()) })
		e, err := multilock.New(b, multilock.Options{Group: "g", ParticipantID: fmt.Sprintf("p%d", i), Observer: obs{t, i, t0}})
		must(t, err)
		es = append(es, e)
		must(t, e.Start(t.Context()))
	}
	time.Sleep(time.Second)
	for range 12 {
		for i, e := range es {
			if e.IsLeader() {
				fmt.Println(time.Since(t0), "resign", i)
				must(t, e.Resign(t.Context()))
				break
			}
		}
		time.Sleep(50*time.Millisecond)
	}
	for _, b := range bs {
		fmt.Printf("%+v\n", b.Stats())
	}
}

type obs struct{ t *testing.T; i int; t0 time.Time }
func (o obs) Observe(x multilock.Observation) { fmt.Println(time.Since(o.t0), o.i, x.Op, x.Duration, x.Err) }
