package fence_test

import (
	"context"
	"errors"
	"log"

	goredis "github.com/redis/go-redis/v9"

	"github.com/multilock/multilock-go/backends/redis/fence"
	multilock "github.com/multilock/multilock-go/core"
)

// A key that only the leader writes, and that no leader of the past can.
func Example() {
	ctx := context.Background()
	client := goredis.NewClient(&goredis.Options{Addr: "localhost:6379"})
	defer client.Close()
	set := fence.NewScript(`return redis.call('SET', KEYS[1], ARGV[1])`)

	var term multilock.Term                                                   // what Run gives to the work
	if err := fence.Claim(ctx, client, "{reports}:fence", term); err != nil { // older terms cannot write from here
		log.Fatal(err)
	}
	err := set.Run(ctx, client, "{reports}:fence", term, []string{"{reports}:today"}, "text").Err()
	if errors.Is(err, fence.ErrStale) {
		log.Fatal("another leads by now")
	}
}
