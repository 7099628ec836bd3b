//go:build unix

package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// handshake begins a session and stops at the server's first answer. A request
// for a password says that it serves; an error, such as "starting up", that it
// does not yet.
func handshake(ctx context.Context, addr, user, database string) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	const protocol3 = 3 << 16
	msg := binary.BigEndian.AppendUint32(make([]byte, 4), protocol3)
	for _, s := range []string{"user", user, "database", database} {
		msg = append(append(msg, s...), 0)
	}
	msg = append(msg, 0)
	binary.BigEndian.PutUint32(msg, uint32(len(msg)))
	if _, err := c.Write(msg); err != nil {
		return err
	}
	head := make([]byte, 5)
	if _, err := io.ReadFull(c, head); err != nil {
		return err
	}
	if head[0] == 'R' {
		return nil
	}
	rest := make([]byte, min(binary.BigEndian.Uint32(head[1:]), 1<<10))
	n, err := io.ReadFull(c, rest)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	return fmt.Errorf("not ready: %q", rest[:n])
}
