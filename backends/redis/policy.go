package redis

import (
	"context"
	"fmt"
	"strings"

	"github.com/multilock/multilock-go/core/driver"
	goredis "github.com/redis/go-redis/v9"
)

// checkPolicy refuses a server that may evict any key: the record of a live
// leader would vanish, and another would lead beside it. It asks each server
// once, and again after a call has failed there, which is what a restart and a
// failover look like; a server that will not tell is trusted.
func (d *redisDriver) checkPolicy(ctx context.Context, c goredis.UniversalClient, addr string) error {
	if _, ok := d.checked.Load(addr); ok {
		return nil
	}
	info, err := c.Info(ctx, "memory").Result()
	if err != nil {
		if isReply(err) {
			d.checked.Store(addr, true)
		}
		return nil // what is wrong shows in the request itself
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "maxmemory_policy" && strings.HasPrefix(value, "allkeys-") {
			return driver.Misconfigured(fmt.Errorf("redis: maxmemory-policy is %s", value),
				"the server may evict the record of a live leader: use noeviction or a volatile policy")
		}
	}
	d.checked.Store(addr, true)
	return nil
}
