// Package write compares generated files with those on disk and writes what
// differs. It keeps a manifest, so that stale files are removed and a
// hand-edited one is told from one that is merely out of date.
package write

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// ManifestPath is the list of generated files, in the format of sha256sum.
const ManifestPath = "generated.sum"

// manifest maps paths to digests.
type manifest map[string]string

func digest(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// parseManifest is lenient: a line that is no entry (a merge conflict, say) is
// returned in bad and otherwise left out. The next write repairs it.
func parseManifest(data []byte) (m manifest, bad []int) {
	m = manifest{}
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if line == "" && len(data) == 0 {
			continue
		}
		sum, path, ok := strings.Cut(line, "  ")
		if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size || path == "" {
			bad = append(bad, i+1)
			continue
		}
		m[path] = sum
	}
	return m, bad
}

func (m manifest) bytes() []byte {
	paths := make([]string, 0, len(m))
	for p := range m {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	var b bytes.Buffer
	for _, p := range paths {
		fmt.Fprintf(&b, "%s  %s\n", m[p], p)
	}
	return b.Bytes()
}
