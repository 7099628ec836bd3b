//go:build unix

package examples_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/health"
)

// TestSingletonJob has three replicas, of which the one that runs the job is killed,
// then the next asked to stop: no slot is run twice, and the slots go on.
func TestSingletonJob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var replicas []*program
	for range 3 {
		replicas = append(replicas, start(t, nil, "singletonjob", "-dir", dir, "-every", "1s"))
	}
	ran := regexp.MustCompile(`^report of (.+)$`)
	slots := func(p *program) (found []time.Time) {
		for _, line := range p.said() {
			if m := ran.FindStringSubmatch(line); m != nil {
				at, err := time.Parse(time.RFC3339, m[1])
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, at)
			}
		}
		return found
	}
	ends := []func(*program){(*program).kill, (*program).terminate, (*program).terminate}
	done := map[*program]bool{}
	for _, end := range ends {
		var leader *program
		eventually(t, "a replica that is left has run three slots", func() bool {
			for _, p := range replicas {
				if !done[p] && len(slots(p)) >= 3 {
					leader = p
				}
			}
			return leader != nil
		})
		end(leader)
		done[leader] = true
	}
	seen := map[time.Time]int{}
	for i, p := range replicas {
		for _, at := range slots(p) {
			if before, twice := seen[at]; twice {
				t.Errorf("slot %v was run by replica %d and by %d", at, before, i)
			}
			seen[at] = i
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

// TestFxWeb has two replicas of the web application.
func TestFxWeb(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	boot := func() (*program, string) {
		p := start(t, nil, "fxweb", "-dir", dir, "-listen", "127.0.0.1:0")
		m, _ := p.await(0, `serving address=(\S+)`)
		if code, body := get(t, "http://"+m[1]+"/ready"); code != http.StatusOK {
			t.Errorf("ready: %d %s", code, body)
		}
		return p, "http://" + m[1]
	}
	election := func(url string) health.Election {
		t.Helper()
		_, body := get(t, url+"/leader?fresh=1")
		var list []health.Election
		if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 1 {
			t.Fatalf("leader: %v: %s", err, body)
		}
		return list[0]
	}
	one, first := boot()
	one.await(0, `report number=2`)
	two, second := boot()
	a, b := election(first), election(second)
	if !a.IsLeader || b.IsLeader || a.Leader != a.Participant || b.Leader != a.Participant || b.LeaderToken != a.Token {
		t.Errorf("the first says %+v, the second %+v", a, b)
	}
	two.never(`report number=`)
	one.terminate()
	two.await(0, `report number=2`)
	if c := election(second); !c.IsLeader || c.Token <= a.Token {
		t.Errorf("after the first stopped, the second says %+v", c)
	}
	if _, body := get(t, second+"/"); strings.HasPrefix(body, "0 ") || !strings.Contains(body, "reports made by this replica") {
		t.Errorf("page: %s", body)
	}
	two.terminate()
}

// TestSharding has replicas come and go; the shards spread over those that are alive.
func TestSharding(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	boot := func(n int) *program { return start(t, nil, "sharding", "-dir", dir, "-replica", fmt.Sprint(n)) }
	line := regexp.MustCompile(`shard (\d+) is (served|given up)`)
	serves := func(p *program) map[string]bool {
		now := map[string]bool{}
		for _, text := range p.said() {
			if m := line.FindStringSubmatch(text); m != nil {
				now[m[1]] = m[2] == "served"
			}
		}
		for shard, served := range now {
			if !served {
				delete(now, shard)
			}
		}
		return now
	}
	spread := func(each int, list ...*program) {
		t.Helper()
		eventually(t, fmt.Sprintf("each of %d replicas serves %d shards", len(list), each), func() bool {
			all := map[string]bool{}
			for _, p := range list {
				mine := serves(p)
				if len(mine) != each {
					return false
				}
				for shard := range mine {
					all[shard] = true
				}
			}
			return len(all) == 12
		})
	}
	zero := boot(0)
	spread(12, zero)
	one := boot(1)
	spread(6, zero, one)
	two := boot(2)
	spread(4, zero, one, two)
	one.kill()
	spread(6, zero, two)
	one = boot(1)
	spread(4, zero, one, two)
	zero.terminate()
	spread(6, one, two)
	one.terminate()
	spread(12, two)
	two.terminate()
	if left := serves(two); len(left) > 0 {
		t.Errorf("ended while it served %v", left)
	}
}
