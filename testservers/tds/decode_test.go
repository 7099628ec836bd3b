package tds

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"testing"
)

// call is a well-formed call of sp_executesql with two parameters of its own.
func call() []byte {
	text := func(s string) []byte {
		b := []byte{0, 0, typeNVarChar, 0x40, 0x1f, 0, 0, 0, 0, 0} // no name, no flags, type, size, collation
		b = binary.LittleEndian.AppendUint16(b, uint16(2*len(s)))
		return append(b, ucs2(s)...)
	}
	b := []byte{4, 0, 0, 0, 0xff, 0xff, procExecuteSQL, 0, 0, 0}
	b = append(b, text("SELECT 1")...)
	b = append(b, text("@a nvarchar(10), @b bigint")...)
	b = append(b, text("x")...)
	return append(b, 0, 0, typeIntN, 8, 8, 1, 0, 0, 0, 0, 0, 0, 0)
}

func TestDecodeRPC(t *testing.T) {
	c, err := decodeRPC(call())
	if err != nil || c.text != "SELECT 1" || len(c.params) != 2 || c.params[0].value != "x" || c.params[1].value != int64(1) {
		t.Errorf("%+v, %v", c, err)
	}
}

func FuzzRPC(f *testing.F) {
	f.Add(call())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeRPC(data)
		for _, p := range c.params {
			switch p.value.(type) {
			case nil, int64, string:
			default:
				t.Errorf("a parameter is a %T (%v)", p.value, err)
			}
		}
	})
}

func FuzzLogin(f *testing.F) {
	f.Add(make([]byte, 94))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := decodeLogin(data)
		if err != nil && l != (loginRequest{}) {
			t.Errorf("%+v and %v", l, err)
		}
	})
}

// What was written in packets of any size is read again as it was.
func FuzzMessage(f *testing.F) {
	f.Add([]byte("text"), 512)
	f.Add(bytes.Repeat([]byte("x"), 2000), 512)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		_, _ = readMessage(bufio.NewReader(bytes.NewReader(data))) // anything a client may send
		if size < 512 || size > 32767 {
			return
		}
		var b bytes.Buffer
		if err := writeMessage(&b, data, size, 1); err != nil {
			t.Fatal(err)
		}
		m, err := readMessage(bufio.NewReader(&b))
		if err != nil || !bytes.Equal(m.data, data) {
			t.Errorf("%d bytes became %d, %v", len(data), len(m.data), err)
		}
	})
}
