package redis_test

import (
	"context"
	"log"

	goredis "github.com/redis/go-redis/v9"

	"github.com/multilock/multilock-go/backends/redis"
)

// A client of your own, which stays yours to close.
func ExampleFromClient() {
	ctx := context.Background()
	client := goredis.NewClient(&goredis.Options{Addr: "localhost:6379"})
	defer client.Close()
	b, err := redis.FromClient(client, redis.Options{KeyPrefix: "myapp"})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx) // before the client
}

// A master that sentinels name, and a term that counts only when a replica has it.
func ExampleOpen() {
	ctx := context.Background()
	b, err := redis.Open(ctx, redis.Options{
		Addrs:          []string{"sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"},
		SentinelMaster: "main",
		WaitReplicas:   1,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)
}
