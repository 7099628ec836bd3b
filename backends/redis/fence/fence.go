// Package fence protects keys of your own by the fencing token of a term: a leader
// whose term is over, however late it notices, can no longer write once its
// successor has written.
//
//	var report = fence.NewScript(`return redis.call('SET', KEYS[1], ARGV[1])`)
//	...
//	err := report.Run(ctx, client, "reports:fence", term, []string{"reports:today"}, text).Err()
//	if errors.Is(err, fence.ErrStale) {
//		return err // another leads by now
//	}
//
// # What it does and does not
//
// A mark is a key of its own with the greatest token that has written so far. A
// [Script] compares the term's token with it, raises it, and runs your commands, all
// in one step of the server. Everybody who writes the protected keys must go through
// scripts with the same mark. One mark is for one group; it has no time-to-live and
// must not be deleted.
//
// The guard learns of a new term only by its first script: until then the old one
// can still write. A leader that must rule that out begins its term with [Claim].
//
// The lease's own key is never the mark, and the two need not be on the same server.
// A mark is as durable as the server: one that loses acknowledged writes, in a
// restart or a failover, may forget it together with what it protects.
//
// In a cluster mark and keys belong into one slot: give them a common hash tag, as in
// "{reports}:fence" and "{reports}:today".
package fence

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	multilock "github.com/multilock/multilock-go/core"
)

// ErrStale says that a newer term has written; nothing was changed.
// errors.Is(err, multilock.ErrLost) holds as well.
var ErrStale = fmt.Errorf("fence: a newer term has written: %w", multilock.ErrLost)

//go:embed guard.lua
var guard string

// staleReply begins the server's reply to a token that is too low; guard.lua has it.
const staleReply = "MULTILOCKSTALE"

// Script is a Lua script that runs only under a token that is not lower than any
// before. It may be used by several goroutines.
type Script struct{ s *goredis.Script }

// NewScript makes a Script of Lua code, in which KEYS and ARGV are as without the
// guard.
func NewScript(source string) *Script {
	shebang := ""
	if strings.HasPrefix(source, "#!") { // has to stay first
		shebang, source, _ = strings.Cut(source, "\n")
		shebang += "\n"
	}
	// On one line, so that the line numbers of errors stay those of the source.
	prelude := strings.Join(strings.Fields(guard), " ")
	return &Script{goredis.NewScript(shebang + prelude + " " + source)}
}

// Run runs the script under term, with the mark in the key mark. The command's error
// is [ErrStale] if a newer term has run one; then the script was not begun. Like any
// script it is sent as EVALSHA first. ctx bounds it; after an error of the network
// nobody knows whether it was executed.
func (s *Script) Run(ctx context.Context, c goredis.Scripter, mark string, term multilock.Term, keys []string, args ...any) *goredis.Cmd {
	if term.Token == 0 || term.Group == "" || mark == "" {
		cmd := goredis.NewCmd(ctx)
		cmd.SetErr(fmt.Errorf("fence: %v is not a term, or the mark %q is empty", term, mark))
		return cmd
	}
	cmd := s.s.Run(ctx, c, append([]string{mark}, keys...), append([]any{strconv.FormatUint(term.Token, 10)}, args...)...)
	if err := cmd.Err(); err != nil && !errors.Is(err, goredis.Nil) && strings.HasPrefix(err.Error(), staleReply) {
		cmd.SetErr(fmt.Errorf("%w: the token of %v is out of date", ErrStale, term))
	}
	return cmd
}

var claim = NewScript("return 1")

// Claim raises the mark to the term's token, so that no older term can write from
// now on. Its error is [ErrStale] if a newer term has been there.
func Claim(ctx context.Context, c goredis.Scripter, mark string, term multilock.Term) error {
	return claim.Run(ctx, c, mark, term, nil).Err()
}
