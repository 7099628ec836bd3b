package redis

import (
	"fmt"

	"github.com/multilock/multilock-go/core/driver"
)

// A server that may evict any key is refused: the record of a live leader would
// vanish, and another would lead beside it. The script of the first attempt at a
// server looks, before it reads or writes anything; and again after a call has
// failed there, which is what a restart and a failover look like.

// lookArg is the argument of the acquire script that tells it to look.
const lookArg = 5

// isChecked reports whether the server of that address has answered an attempt
// that looked.
func (d *redisDriver) isChecked(addr string) bool {
	_, ok := d.checked.Load(addr)
	return ok
}

func errPolicy(policy string) error {
	return driver.Misconfigured(fmt.Errorf("redis: maxmemory-policy is %s", policy),
		"the server may evict the record of a live leader: use noeviction or a volatile policy")
}
