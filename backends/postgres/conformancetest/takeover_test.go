package conformancetest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/postgres"
	multilock "github.com/multilock/multilock-go/core"
	server "github.com/multilock/multilock-go/testservers/postgres"
)

// leadEnv makes the test binary a process that leads takenOver groups on the server
// of that URL, says so and does nothing else until it is killed.
const (
	leadEnv     = "MULTILOCK_TEST_LEAD"
	takenOver   = 100
	takeoverTTL = 10 * time.Second
)

func lead(url string) {
	err := func() error {
		b, err := postgres.OpenURL(context.Background(), url)
		if err != nil {
			return err
		}
		es, err := campaign(b)
		for _, e := range es {
			if _, err := e.WaitForLeadership(context.Background()); err != nil {
				return err
			}
		}
		return err
	}()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("leading")
	select {}
}

// campaign starts an elector for each group.
func campaign(b *multilock.Backend) ([]*multilock.Elector, error) {
	var es []*multilock.Elector
	for i := range takenOver {
		e, err := multilock.New(b, multilock.Options{Group: fmt.Sprintf("group-%d", i), HeartbeatTimeout: takeoverTTL})
		if err == nil {
			err = e.Start(context.Background())
		}
		if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	return es, nil
}

// A process that leads a hundred groups is killed: how long after their leases have
// run out another leads them, which -v prints.
func TestTakeoverAfterKill(t *testing.T) {
	s := server.Start(t, server.Options{})
	url := s.URL(server.User, server.Password, server.Database)
	b, err := postgres.OpenURL(t.Context(), url)
	must(t, err)
	defer b.Close(context.Background())
	c := osexec.Command(os.Args[0])
	c.Env = append(os.Environ(), leadEnv+"="+url)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	kill := sync.OnceFunc(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // "killed"
	})
	defer kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "leading\n" {
		t.Fatalf("the process says %q, %v", line, err)
	}
	es, err := campaign(b)
	must(t, err)
	eventually(t, "all groups are watched", func() bool { return b.Stats().Watched == takenOver })
	time.Sleep(takeoverTTL / 4)
	kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	earliest, latest, dead := make([]time.Time, takenOver), make([]time.Time, takenOver), make([]multilock.Record, takenOver)
	for i, e := range es {
		earliest[i] = time.Now()
		if dead[i], err = b.Leader(ctx, e.Group()); err != nil {
			t.Fatalf("the leader of %s right after it was killed: %v", e.Group(), err)
		}
		earliest[i], latest[i] = earliest[i].Add(dead[i].Remaining), time.Now().Add(dead[i].Remaining)
	}
	late := make([]time.Duration, takenOver)
	var all sync.WaitGroup
	for i, e := range es {
		all.Go(func() {
			term, err := e.WaitForLeadership(ctx)
			now := time.Now()
			if err != nil || term.Token <= dead[i].Token {
				t.Errorf("%s: %v after token %d, %v", e.Group(), term, dead[i].Token, err)
			}
			if now.Before(earliest[i]) {
				t.Errorf("%s was taken %v before the lease ran out", e.Group(), earliest[i].Sub(now))
			}
			late[i] = now.Sub(latest[i])
		})
	}
	all.Wait()
	slices.Sort(late)
	t.Logf("%d groups after kill -9: led again p50 %v, p90 %v, at the latest %v after the lease had run out", takenOver, late[takenOver/2], late[takenOver*9/10], late[takenOver-1])
}
