package fence_test

import (
	"context"
	"errors"
	"log"

	goredis "github.com/redis/go-redis/v9"

	"github.com/multilock/multilock-go/backends/redis/fence"
	multilock "github.com/multilock/multilock-go/core"
)

// report appends to a list, but not for a term that is out of date.
var report = fence.NewScript(`return redis.call('RPUSH', KEYS[1], ARGV[1])`)

// A leader first makes sure that no older term can write any more, and then writes.
func Example() {
	ctx := context.Background()
	client := goredis.NewClient(&goredis.Options{Addr: "redis.internal:6379"})
	defer client.Close()
	var term multilock.Term // what Run gives to the work
	if err := fence.Claim(ctx, client, "{reports}:fence", term); err != nil {
		log.Fatal(err)
	}
	err := report.Run(ctx, client, "{reports}:fence", term, []string{"{reports}:today"}, "all is well").Err()
	if errors.Is(err, fence.ErrStale) {
		log.Fatal("another leads by now")
	}
}
