package tds

import (
	"encoding/binary"
	"fmt"
)

// Tokens of a reply.
const (
	tokenReturnStatus = 0x79
	tokenColMetadata  = 0x81
	tokenError        = 0xaa
	tokenLoginAck     = 0xad
	tokenRow          = 0xd1
	tokenEnvChange    = 0xe3
	tokenDone         = 0xfd
	tokenDoneProc     = 0xfe
	tokenDoneInProc   = 0xff
)

// Flags of a DONE token.
const (
	doneMore  = 0x01
	doneError = 0x02
	doneCount = 0x10
	doneAttn  = 0x20
)

// Kinds of ENVCHANGE.
const (
	envDatabase = 1
	envBegin    = 8
	envCommit   = 9
	envRollback = 10
	envReset    = 18
)

// collation is Latin1_General with binary order, as nvarchar columns carry it.
var collation = []byte{0x09, 0x04, 0x00, 0x01, 0x00}

// column describes a column of a result set. Strings are nvarchar(max), integers
// bigint unless int32 is asked for; all are nullable.
type column struct {
	name string
	kind columnKind
}

type columnKind int

const (
	bigint columnKind = iota
	integer
	nvarchar
)

// reply collects the tokens of an answer.
type reply struct {
	b    []byte
	proc bool // the request was a call of a procedure
}

func (p *reply) u16(v uint16) { p.b = binary.LittleEndian.AppendUint16(p.b, v) }
func (p *reply) u32(v uint32) { p.b = binary.LittleEndian.AppendUint32(p.b, v) }
func (p *reply) u64(v uint64) { p.b = binary.LittleEndian.AppendUint64(p.b, v) }

func (p *reply) bVarChar(s string) {
	u := ucs2(s)
	p.b = append(p.b, byte(len(u)/2))
	p.b = append(p.b, u...)
}

func (p *reply) usVarChar(s string) {
	u := ucs2(s)
	p.u16(uint16(len(u) / 2))
	p.b = append(p.b, u...)
}

// sized appends a token whose body is preceded by its length.
func (p *reply) sized(token byte, body func(*reply)) {
	var inner reply
	body(&inner)
	p.b = append(p.b, token)
	p.u16(uint16(len(inner.b)))
	p.b = append(p.b, inner.b...)
}

func (p *reply) done(token byte, status uint16, rows int) {
	p.b = append(p.b, token)
	p.u16(status)
	p.u16(0xc1)
	p.u64(uint64(rows))
}

// result appends a result set. Values are nil, int, int64 or string.
func (p *reply) result(columns []column, rows [][]any) {
	p.b = append(p.b, tokenColMetadata)
	p.u16(uint16(len(columns)))
	for _, c := range columns {
		p.u32(0)
		p.u16(1) // nullable
		switch c.kind {
		case nvarchar:
			p.b = append(p.b, typeNVarChar)
			p.u16(0xffff)
			p.b = append(p.b, collation...)
		case integer:
			p.b = append(p.b, typeIntN, 4)
		default:
			p.b = append(p.b, typeIntN, 8)
		}
		p.bVarChar(c.name)
	}
	for _, row := range rows {
		p.b = append(p.b, tokenRow)
		for i, v := range row {
			p.cell(columns[i].kind, v)
		}
	}
	token := byte(tokenDone)
	if p.proc {
		token = tokenDoneInProc
	}
	p.done(token, doneMore|doneCount, len(rows))
}

func (p *reply) cell(kind columnKind, v any) {
	switch v := v.(type) {
	case nil:
		if kind == nvarchar {
			p.u64(^uint64(0))
		} else {
			p.b = append(p.b, 0)
		}
	case string:
		u := ucs2(v)
		p.u64(uint64(len(u)))
		if len(u) > 0 {
			p.u32(uint32(len(u)))
			p.b = append(p.b, u...)
		}
		p.u32(0)
	case int:
		p.integer(kind, int64(v))
	case int64:
		p.integer(kind, v)
	default:
		panic(fmt.Sprintf("tds: value of type %T", v))
	}
}

func (p *reply) integer(kind columnKind, v int64) {
	if kind == integer {
		p.b = append(p.b, 4)
		p.u32(uint32(v))
		return
	}
	p.b = append(p.b, 8)
	p.u64(uint64(v))
}

// sqlError is an error as the server reports it.
type sqlError struct {
	number int32
	class  byte
	text   string
}

func (e *sqlError) Error() string { return fmt.Sprintf("error %d: %s", e.number, e.text) }

func (p *reply) error(e *sqlError) {
	p.sized(tokenError, func(p *reply) {
		p.u32(uint32(e.number))
		p.b = append(p.b, 1, e.class)
		p.usVarChar(e.text)
		p.bVarChar("stand-in")
		p.bVarChar("")
		p.u32(1)
	})
}

// end closes the answer to a request.
func (p *reply) end(failed *sqlError, returnStatus int32) {
	status := uint16(0)
	if failed != nil {
		p.error(failed)
		status = doneError
	}
	if p.proc {
		p.b = append(p.b, tokenReturnStatus)
		p.u32(uint32(returnStatus))
		p.done(tokenDoneProc, status, 0)
		return
	}
	p.done(tokenDone, status, 0)
}

func (p *reply) envDatabase(name string) {
	p.sized(tokenEnvChange, func(p *reply) {
		p.b = append(p.b, envDatabase)
		p.bVarChar(name)
		p.bVarChar("master")
	})
}

// envTransaction tells that a transaction began or ended.
func (p *reply) envTransaction(kind byte, id uint64) {
	p.sized(tokenEnvChange, func(p *reply) {
		raw := binary.LittleEndian.AppendUint64(nil, id)
		p.b = append(p.b, kind)
		if kind == envBegin {
			p.b = append(append(append(p.b, 8), raw...), 0)
		} else {
			p.b = append(append(append(p.b, 0), 8), raw...)
		}
	})
}

func (p *reply) loginAck() {
	p.sized(tokenLoginAck, func(p *reply) {
		p.b = append(p.b, 1, 0x74, 0, 0, 0x04)
		p.bVarChar("multilock tds stand-in")
		p.b = append(p.b, 16, 0, 0, 0)
	})
}

// prelogin is the answer to a PRELOGIN message: version 16, no encryption.
func prelogin() []byte {
	options := []struct {
		token byte
		value []byte
	}{
		{0, []byte{16, 0, 0, 0, 0, 0}}, // version
		{1, []byte{2}},                 // encryption is not supported
		{2, []byte{0}},                 // instance
		{4, []byte{0}},                 // no multiple result sets
	}
	offset := 5*len(options) + 1
	var head, body []byte
	for _, o := range options {
		head = append(head, o.token)
		head = binary.BigEndian.AppendUint16(head, uint16(offset+len(body)))
		head = binary.BigEndian.AppendUint16(head, uint16(len(o.value)))
		body = append(body, o.value...)
	}
	return append(append(head, 0xff), body...)
}
