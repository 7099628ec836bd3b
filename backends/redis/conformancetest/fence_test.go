package conformancetest

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/multilock/multilock-go/backends/redis/fence"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
	redisserver "github.com/multilock/multilock-go/testservers/redis"
)

var push = fence.NewScript("#!lua\nlocal n = redis.call('RPUSH', KEYS[1], ARGV[1])\nreturn n")

func TestGuardRefusesAnOlderTerm(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t, redisserver.Options{})
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr})
	defer c.Close()
	guardSteps(t, c)

	// Errors of the script are its own, with its own line numbers.
	bad := fence.NewScript("local x = 1\nreturn redis.call('NOSUCHCOMMAND')")
	if err := bad.Run(t.Context(), c, "mark", driver.Term{Group: "g", Token: math.MaxUint64}, nil).Err(); err == nil || errors.Is(err, fence.ErrStale) || !strings.Contains(err.Error(), "script:2") {
		t.Errorf("a script that fails: %v", err)
	}
	none := fence.NewScript("return redis.call('GET', KEYS[1])")
	if err := none.Run(t.Context(), c, "mark", driver.Term{Group: "g", Token: math.MaxUint64}, []string{"none"}).Err(); !errors.Is(err, goredis.Nil) {
		t.Errorf("a script that returns nothing: %v", err)
	}
	for _, term := range []driver.Term{{Group: "g"}, {Token: 9}} {
		if err := fence.Claim(t.Context(), c, "mark", term); err == nil || errors.Is(err, fence.ErrStale) {
			t.Errorf("%v: %v", term, err)
		}
	}
}

func TestGuardInACluster(t *testing.T) {
	t.Parallel()
	cluster := redisserver.StartCluster(t, 3, redisserver.Options{})
	c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: cluster.Addrs()})
	defer c.Close()
	guardSteps(t, c)
}

// guardSteps writes under tokens that go up and down.
func guardSteps(t *testing.T, c goredis.UniversalClient) {
	t.Helper()
	ctx := t.Context()
	var wrote []string
	for i, step := range []struct {
		token uint64
		stale bool
	}{
		{9, false}, {9, false}, {10, false}, {9, true}, {100, false}, {99, true}, {1 << 53, false},
		{1<<53 + 1, false}, {1 << 53, true}, {math.MaxUint64, false}, {math.MaxUint64 - 1, true}, {math.MaxUint64, false},
	} {
		term := driver.Term{Group: "g", Token: step.token}
		_, err := push.Run(ctx, c, "{g}:fence", term, []string{"{g}:list"}, i).Result()
		if step.stale {
			if !errors.Is(err, fence.ErrStale) || !errors.Is(err, multilock.ErrLost) {
				t.Errorf("step %d: %v", i, err)
			}
			if err := fence.Claim(ctx, c, "{g}:fence", term); !errors.Is(err, fence.ErrStale) {
				t.Errorf("step %d: claim: %v", i, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("step %d: %v", i, err)
		}
		wrote = append(wrote, c.LIndex(ctx, "{g}:list", -1).Val())
	}
	if got := strings.Join(c.LRange(ctx, "{g}:list", 0, -1).Val(), " "); got != strings.Join(wrote, " ") || len(wrote) != 8 {
		t.Errorf("the list holds %s, written was %v", got, wrote)
	}
	if ttl := c.TTL(ctx, "{g}:fence").Val(); ttl != -1 {
		t.Errorf("the mark expires in %v", ttl)
	}

	// Many writers at once: what is admitted never goes back.
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for k := range 50 {
				err := push.Run(context.Background(), c, "{h}:fence", driver.Term{Group: "h", Token: uint64(1 + 8*k + w)}, []string{"{h}:list"}, 1+8*k+w).Err()
				if err != nil && !errors.Is(err, fence.ErrStale) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var last int
	var list []int
	if err := c.LRange(ctx, "{h}:list", 0, -1).ScanSlice(&list); err != nil || len(list) < 50 {
		t.Fatalf("%d writes: %v", len(list), err)
	}
	for _, token := range list {
		if token < last {
			t.Errorf("token %d after %d", token, last)
		}
		last = token
	}
}
