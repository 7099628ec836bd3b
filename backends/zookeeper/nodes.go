package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/core/driver"
)

// The tree below RootPath:
//
//	/<group>            persistent, never deleted: the nonce that resigned last
//	/<group>/lock       ephemeral: the record of the live term
//	/@sessions/<id>     ephemeral: what a session writes to renew
//
// No group is called @sessions, since names have no @.
const (
	lockName   = "/lock"
	sessionDir = "/@sessions"
	neverMade  = "/@watch" // only its absence is watched
)

func (s *store) groupPath(group string) string { return s.o.RootPath + "/" + group }
func (s *store) lockPath(group string) string  { return s.groupPath(group) + lockName }

func (s *store) heartbeatPath(session int64) string {
	return fmt.Sprintf("%s%s/%016x", s.o.RootPath, sessionDir, uint64(session))
}

// groupOf is the inverse of lockPath.
func (s *store) groupOf(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, s.o.RootPath+"/")
	if !ok {
		return "", false
	}
	group, ok := strings.CutSuffix(rest, lockName)
	return group, ok && !strings.Contains(group, "/")
}

// ACL is an access list of the client library, such as zk.DigestACL makes. Every
// participant of a group needs all permissions.
type ACL []zk.ACL

// acl lets in the user of the credentials alone, or everybody.
func (s *store) acl() []zk.ACL {
	if s.o.ACL != nil {
		return s.o.ACL
	}
	if s.o.AuthDigest != "" {
		return zk.AuthACL(zk.PermAll)
	}
	return zk.WorldACL(zk.PermAll)
}

// node is a node as it was read.
type node struct {
	data []byte
	stat *zk.Stat
}

func (s *store) get(ctx context.Context, path string) (node, error) {
	return ask(ctx, s, false, func() (node, error) {
		data, stat, err := s.conn.Get(path)
		return node{data, stat}, err
	})
}

func (s *store) sync(ctx context.Context) error {
	_, err := ask(ctx, s, true, func() (string, error) { return s.conn.Sync(s.o.RootPath) })
	return err
}

func (s *store) multi(ctx context.Context, ops ...any) ([]zk.MultiResponse, error) {
	return ask(ctx, s, true, func() ([]zk.MultiResponse, error) { return s.conn.Multi(ops...) })
}

// create makes a node and the parents that are missing.
func (s *store) create(ctx context.Context, path string, data []byte, flags int32) error {
	for {
		_, err := ask(ctx, s, true, func() (string, error) { return s.conn.Create(path, data, flags, s.acl()) })
		if !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		parent := path[:strings.LastIndexByte(path, '/')]
		if parent == "" {
			return err
		}
		if s.o.NoAutoCreate && len(parent) <= len(s.o.RootPath) {
			return driver.Misconfigured(err, "RootPath does not exist and NoAutoCreate is set")
		}
		if err := s.create(ctx, parent, nil, 0); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
}

func (s *store) createGroup(ctx context.Context, group string) error {
	err := s.create(ctx, s.groupPath(group), encode(groupRecord{Format: recordFormat}), 0)
	if errors.Is(err, zk.ErrNodeExists) {
		return nil
	}
	return err
}

// heartbeat is one write decided by the ensemble, in the session of l. If it is
// confirmed, the session was alive when it was executed.
func (s *store) heartbeat(ctx context.Context, l link) error {
	path := s.heartbeatPath(l.session)
	_, err := ask(ctx, s, true, func() (*zk.Stat, error) { return s.conn.Set(path, nil, -1) })
	if errors.Is(err, zk.ErrNoNode) { // the first one, or somebody tidied up
		err = s.create(ctx, path, nil, zk.FlagEphemeral)
		if errors.Is(err, zk.ErrNodeExists) { // an earlier one whose answer was lost
			_, err = ask(ctx, s, true, func() (*zk.Stat, error) { return s.conn.Set(path, nil, -1) })
		}
	}
	if err == nil && !s.same(l) {
		return errMoved
	}
	return err
}
