//go:build unix

package examples_test

import (
	"os"
	"testing"

	"github.com/multilock/multilock-go/testservers/azurite"
	"github.com/multilock/multilock-go/testservers/consul"
	"github.com/multilock/multilock-go/testservers/postgres"
	"github.com/multilock/multilock-go/testservers/redis"
	"github.com/multilock/multilock-go/testservers/tds"
	"github.com/multilock/multilock-go/testservers/zookeeper"
)

// TestBackends runs the quick start and the demonstration of each store that needs a
// server; the others are below.
func TestBackends(t *testing.T) {
	for name, server := range map[string]func(t *testing.T) (flag, value, url string){
		"redis": func(t *testing.T) (string, string, string) {
			s := redis.Start(t, redis.Options{})
			return "-addr", s.Addr, s.URL()
		},
		"postgres": func(t *testing.T) (string, string, string) {
			s := postgres.Start(t, postgres.Options{})
			url := s.URL(postgres.User, postgres.Password, postgres.Database)
			return "-url", url, url
		},
		"sqlserver": func(t *testing.T) (string, string, string) {
			url := os.Getenv("MULTILOCK_TEST_SQLSERVER_URL") // a real one cannot be installed everywhere
			if url == "" {
				s, err := tds.Start(tds.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(s.Stop)
				url = s.URL()
			}
			return "-url", url, url
		},
		"consul": func(t *testing.T) (string, string, string) {
			s := consul.Start(t, consul.Options{})
			return "-addr", "http://" + s.Addr, s.URL()
		},
		"zookeeper": func(t *testing.T) (string, string, string) {
			s := zookeeper.Start(t, zookeeper.Options{Tick: 500 * 1e6})
			return "-addr", s.Addr, "zookeeper://" + s.Addr + "/leader-election"
		},
		"azblob": func(t *testing.T) (string, string, string) {
			return "-connection", azurite.ConnectionString(azurite.Start(t).Addr), "azblob:///leader-election"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flag, value, url := server(t)
			var env []string
			if name == "azblob" { // its URLs hold no secret
				env = []string{"MULTILOCK_AZBLOB_CONNECTION_STRING=" + value}
			}
			t.Run("quickstart", func(t *testing.T) {
				t.Parallel()
				quickstart(t, name, flag, value)
			})
			t.Run("multibackend", func(t *testing.T) {
				t.Parallel()
				multibackend(t, env, name, url)
			})
		})
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	quickstart(t, "file", "-dir", t.TempDir())
	multibackend(t, nil, "file", "file://"+t.TempDir())
}

func TestMemory(t *testing.T) {
	t.Parallel()
	multibackend(t, nil, "memory", "memory://test")
	p := start(t, nil, "memory")
	var last uint64
	at := 0
	for _, pattern := range []string{`(anna|bert) leads with token (\d+)`, `anna leads with token ()(\d+)`, `bert leads with token ()(\d+)`} {
		var m []string
		if m, _ = p.await(at, pattern); number(t, m[2]) < last {
			t.Errorf("token %s after %d", m[2], last)
		}
	}
	p.terminate()
}

// quickstart has processes lead one after the other: the first is asked to stop, the
// second is killed.
func quickstart(t *testing.T, name string, args ...string) {
	const working = `work \d+ under token (\d+)`
	a := start(t, nil, name, args...)
	m, _ := a.await(0, working)
	first := number(t, m[1])
	follow := func(leader *program) *program {
		p := start(t, nil, name, args...)
		p.await(0, "campaigning") // who leads it says only where the store tells
		n := len(leader.said())
		for range 3 {
			_, n = leader.await(n, working)
		}
		p.never(working)
		return p
	}
	b := follow(a)
	a.terminate()
	m, _ = b.await(0, working)
	second := number(t, m[1])
	c := follow(b)
	b.kill()
	m, _ = c.await(0, working)
	third := number(t, m[1])
	c.terminate()
	if first >= second || second >= third {
		t.Errorf("tokens %d, %d, %d do not increase", first, second, third)
	}
}

// multibackend waits until two participants have led one after the other.
func multibackend(t *testing.T, env []string, name, url string) {
	p := start(t, env, "multibackend", "-turn", "300ms", name, url)
	const leads = `(participant-\d) leads with token (\d+)`
	m, n := p.await(0, leads)
	other := m
	for other[1] == m[1] {
		other, n = p.await(n, leads)
	}
	if number(t, other[2]) <= number(t, m[2]) {
		t.Errorf("token %s follows %s", other[2], m[2])
	}
	p.terminate()
	p.await(0, `no longer leads`)
}

func TestMultibackendRefusesOthers(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "multibackend", "etcd")
	<-p.ended
	p.await(0, "providers: azblob, consul, file, memory, postgres, redis, sqlserver, zookeeper")
	if code := p.cmd.ProcessState.ExitCode(); code != 2 {
		t.Errorf("exit status %d", code)
	}
}
