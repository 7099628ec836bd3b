package tds

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"
)

// Packet types of the protocol.
const (
	typeBatch     = 1
	typeRPC       = 3
	typeReply     = 4
	typeAttention = 6
	typeTransMgr  = 14
	typeLogin     = 16
	typePrelogin  = 18
)

const (
	statusEnd   = 0x01
	statusReset = 0x08
	headerSize  = 8
)

// message is what one or more packets carried.
type message struct {
	kind  byte
	reset bool // the session is to be reset before the request
	data  []byte
}

// maxMessage bounds what a client may send in one message.
const maxMessage = 64 << 20

func readMessage(r *bufio.Reader) (message, error) {
	var m message
	for first := true; ; first = false {
		var h [headerSize]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return m, err
		}
		size := int(binary.BigEndian.Uint16(h[2:]))
		if size < headerSize {
			return m, errors.New("tds: packet shorter than its header")
		}
		if first {
			m.kind, m.reset = h[0], h[1]&statusReset != 0
		} else if h[0] != m.kind {
			return m, errors.New("tds: message of mixed packet types")
		}
		body := make([]byte, size-headerSize)
		if _, err := io.ReadFull(r, body); err != nil {
			return m, err
		}
		m.data = append(m.data, body...)
		if len(m.data) > maxMessage {
			return m, errors.New("tds: message too long")
		}
		if h[1]&statusEnd != 0 {
			return m, nil
		}
	}
}

func writeMessage(w io.Writer, data []byte, packetSize int, spid uint16) error {
	var out []byte
	for number := byte(1); ; number++ {
		n := min(len(data), packetSize-headerSize)
		status := byte(0)
		if n == len(data) {
			status = statusEnd
		}
		out = append(out, typeReply, status)
		out = binary.BigEndian.AppendUint16(out, uint16(n+headerSize))
		out = binary.BigEndian.AppendUint16(out, spid)
		out = append(out, number, 0)
		out = append(out, data[:n]...)
		data = data[n:]
		if status == statusEnd {
			_, err := w.Write(out)
			return err
		}
	}
}

// ucs2 encodes s as UTF-16, little endian.
func ucs2(s string) []byte {
	units := utf16.Encode([]rune(s))
	b := make([]byte, 0, 2*len(units))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func fromUCS2(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
