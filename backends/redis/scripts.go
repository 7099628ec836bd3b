package redis

import (
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
)

//go:embed scripts/common.lua
var commonLua string

//go:embed scripts/record.lua
var recordLua string

//go:embed scripts/acquire.lua
var acquireLua string

//go:embed scripts/renew.lua
var renewLua string

//go:embed scripts/resign.lua
var resignLua string

//go:embed scripts/leader.lua
var leaderLua string

// script is one Lua script in two forms. A server whose memory is full refuses
// writes, unless the script says that it may write all the same: a leader must
// not fall because of somebody's cache. Servers before version 7 do not know
// that header and get the plain form.
type script struct {
	forms [2]form
}

type form struct{ text, sha string }

const (
	withFlags = iota
	plain
)

func newScript(flags, body string) *script {
	var s script
	for i, text := range []string{"#!lua flags=" + flags + "\n" + commonLua + body, commonLua + body} {
		sum := sha1.Sum([]byte(text)) // the name the server gives it, not a safeguard
		s.forms[i] = form{text, hex.EncodeToString(sum[:])}
	}
	return &s
}

var (
	acquireScript = newScript("allow-oom", recordLua+acquireLua)
	renewScript   = newScript("allow-oom", renewLua)
	resignScript  = newScript("allow-oom", resignLua)
	leaderScript  = newScript("no-writes", recordLua+leaderLua)
)
