package fence

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
)

// A place of the guard's file is believed only with its magic and checksum.
func FuzzDecode(f *testing.F) {
	good := binary.BigEndian.AppendUint64([]byte(magic), 7)
	good = binary.BigEndian.AppendUint32(good, crc32.Checksum(good, castagnoli))
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, p []byte) {
		token, ok := decode(p)
		if !ok {
			if token != 0 {
				t.Errorf("%x: token %d", p, token)
			}
			return
		}
		again := binary.BigEndian.AppendUint64([]byte(magic), token)
		again = binary.BigEndian.AppendUint32(again, crc32.Checksum(again, castagnoli))
		if string(p[:len(again)]) != string(again) {
			t.Errorf("%x is believed", p)
		}
	})
}
