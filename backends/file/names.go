package file

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// groupDirectory maps a group to the name of its directory. Different groups
// get different names also on a file system that folds case or forbids names
// such as "con" or "aux.x": the readable prefix is only for people, the hash is
// what tells groups apart, and the marker file inside proves it.
func groupDirectory(group, extension string) string {
	const readable = 40
	var b strings.Builder
	for i := 0; i < len(group) && i < readable; i++ {
		switch c := group[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
			b.WriteByte(c)
		case 'A' <= c && c <= 'Z':
			b.WriteByte(c - 'A' + 'a')
		default:
			b.WriteByte('_')
		}
	}
	sum := sha256.Sum256([]byte(group))
	return b.String() + "-" + hex.EncodeToString(sum[:16]) + extension
}

// generationDigits is the fixed width of a generation's file name, so that a
// listing sorts by number.
const generationDigits = 20

func generationName(gen uint64) string {
	s := strconv.FormatUint(gen, 10)
	return strings.Repeat("0", generationDigits-len(s)) + s
}

// parseGeneration returns 0 for a name that is no generation.
func parseGeneration(name string) uint64 {
	if len(name) != generationDigits {
		return 0
	}
	gen, err := strconv.ParseUint(name, 10, 64)
	if err != nil || generationName(gen) != name {
		return 0
	}
	return gen
}

const lockSuffix = ".lock"

// validLockName guards the one file name that is taken from a record: it must
// not lead anywhere but to a lock file of ours.
func validLockName(name string) bool {
	id, ok := strings.CutSuffix(name, lockSuffix)
	if !ok || len(id) != 32 {
		return false
	}
	_, err := hex.DecodeString(id)
	return err == nil && id == strings.ToLower(id)
}
