package tds

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Types of parameters and columns.
const (
	typeNull     = 0x1f
	typeIntN     = 0x26
	typeBitN     = 0x68
	typeVarChar  = 0xa7
	typeNVarChar = 0xe7
)

var errShort = errors.New("tds: message ends early")

// reader decodes a request; after the first failure it only returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) bytes(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		if r.err == nil {
			r.err = errShort
		}
		return make([]byte, max(0, min(n, 8)))
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8() byte    { return r.bytes(1)[0] }
func (r *reader) u16() uint16 { return binary.LittleEndian.Uint16(r.bytes(2)) }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.bytes(4)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.bytes(8)) }

// bVarChar is a string with its length in characters in one byte.
func (r *reader) bVarChar() string { return fromUCS2(r.bytes(2 * int(r.u8()))) }

// headers skips the ALL_HEADERS part of a request.
func (r *reader) headers() { r.bytes(int(r.u32()) - 4) }

// param is one parameter of a call. A value is nil, int64 or string.
type param struct {
	name  string
	value any
}

func (r *reader) param() param {
	p := param{name: r.bVarChar()}
	r.u8() // status flags: output parameters are not used
	p.value = r.value()
	return p
}

func (r *reader) value() any {
	switch t := r.u8(); t {
	case typeNull:
		return nil
	case typeIntN, typeBitN:
		r.u8()
		switch n := r.u8(); n {
		case 0:
			return nil
		case 1:
			return int64(r.u8())
		case 2:
			return int64(int16(r.u16()))
		case 4:
			return int64(int32(r.u32()))
		case 8:
			return int64(r.u64())
		default:
			r.fail("integer of %d bytes", n)
			return nil
		}
	case typeNVarChar, typeVarChar:
		size := r.u16()
		r.bytes(5) // collation
		raw := r.text(size == 0xffff)
		if raw == nil {
			return nil
		}
		if t == typeVarChar {
			return string(raw)
		}
		return fromUCS2(raw)
	default:
		r.fail("parameter of type %#x", t)
		return nil
	}
}

// text reads a short string, or one sent in chunks. nil is NULL.
func (r *reader) text(chunked bool) []byte {
	if !chunked {
		n := r.u16()
		if n == 0xffff {
			return nil
		}
		return r.bytes(int(n))
	}
	if r.u64() == ^uint64(0) {
		return nil
	}
	all := []byte{}
	for r.err == nil {
		n := r.u32()
		if n == 0 {
			break
		}
		all = append(all, r.bytes(int(n))...)
	}
	return all
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("tds: not supported: "+format, args...)
	}
}

// procExecuteSQL is the number by which sp_executesql is called.
const procExecuteSQL = 10

// rpc is a call of a procedure, by name, or of sp_executesql.
type rpc struct {
	proc   string // empty for sp_executesql
	text   string // of sp_executesql
	params []param
}

func decodeRPC(data []byte) (rpc, error) {
	r := &reader{b: data}
	r.headers()
	var c rpc
	id := uint16(0)
	if n := r.u16(); n == 0xffff {
		id = r.u16()
	} else {
		c.proc = fromUCS2(r.bytes(2 * int(n)))
	}
	r.u16() // option flags
	for r.err == nil && len(r.b) > 0 {
		c.params = append(c.params, r.param())
	}
	if r.err != nil {
		return c, r.err
	}
	if c.proc != "" {
		return c, nil
	}
	if id != procExecuteSQL || len(c.params) < 2 {
		return c, fmt.Errorf("tds: not supported: procedure number %d", id)
	}
	c.text, _ = c.params[0].value.(string)
	c.params = c.params[2:] // the second declares the others, which name themselves
	return c, nil
}

// loginRequest is what is used of a LOGIN7 message.
type loginRequest struct {
	user, password, database string
	packetSize               int
}

func decodeLogin(data []byte) (loginRequest, error) {
	const fixed = 94
	if len(data) < fixed {
		return loginRequest{}, errShort
	}
	field := func(at int) []byte {
		from := int(binary.LittleEndian.Uint16(data[at:]))
		to := from + 2*int(binary.LittleEndian.Uint16(data[at+2:]))
		if to > len(data) {
			return nil
		}
		return data[from:to]
	}
	hidden := field(44)
	clear := make([]byte, len(hidden))
	for i, c := range hidden {
		c ^= 0xa5
		clear[i] = c<<4 | c>>4
	}
	return loginRequest{
		user:       fromUCS2(field(40)),
		password:   fromUCS2(clear),
		database:   fromUCS2(field(68)),
		packetSize: int(binary.LittleEndian.Uint32(data[8:])),
	}, nil
}
