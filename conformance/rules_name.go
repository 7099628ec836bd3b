package conformance

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// awkwardNames are valid group names that careless encodings confuse.
func awkwardNames() []string {
	long := strings.Repeat("x", 254)
	return []string{
		"a", "A", "aB", "Ab", "AB", "ab",
		"a.b", "a-b", "a_b", "a..b", "a.", ".a", "-a", "_a", "a-", "...", "--", "__",
		"0", "00", "1", "01", "1e3",
		"con", "NUL", "aux.txt", "lock", "a.lock", "a.1", "a.2", "null", "true", "select",
		"x2e", "_2e", "-2e", "A_", "_A", "a_41",
		long + "a", long + "b", long + "A",
	}
}

var nameRules = []Rule{
	{
		ID:      "NAM-distinct",
		Title:   "different names are different groups",
		Promise: "Names are encoded so that different valid names stay different: in case, punctuation, length and words the store reserves.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			prefix := ""
			var leases []*lease
			for _, name := range awkwardNames() {
				l, err := a.acquire(r.request(prefix+name, "p-"+fmt.Sprint(len(leases))))
				if err != nil {
					r.Fatalf("Acquire of %s, which nobody leads: %v", shorten(name), err)
				}
				leases = append(leases, l)
			}
			a.renewBatch(leases...)
			for _, l := range leases {
				if rec := b.leader(l.Group); rec != nil {
					if diff := l.differs(*rec); diff != "" {
						r.Errorf("Leader of %s differs from its term %v: %s", shorten(l.Group), l.Term, shorten(diff))
					}
				} else if err := l.settled(nil); err == nil || time.Now().Before(l.goodUntil()) {
					r.Errorf("Leader of %s: nobody, though its term is good or can be renewed (%v)", shorten(l.Group), err)
				}
			}
			for i, l := range leases {
				if i%2 == 0 {
					good := l.goodUntil()
					if err := a.resign(l.Term); err != nil && (!errors.Is(err, driver.ErrLost) || time.Now().Before(good)) {
						r.Errorf("Resign of %s: %v", shorten(l.Group), err)
					}
				}
			}
			for i, l := range leases {
				rec := b.leader(l.Group)
				if i%2 == 0 && rec != nil {
					r.Errorf("%s is still led after its Resign", shorten(l.Group))
				}
				if i%2 == 1 && rec == nil && (time.Now().Before(l.goodUntil()) || l.settled(nil) == nil) {
					r.Errorf("%s lost its leader to the Resign of another group", shorten(l.Group))
				}
			}
		},
	},
	{
		ID:      "NAM-values",
		Title:   "participants and metadata come back byte for byte",
		Promise: "Participant names and metadata of any text within the limits are stored and read back unchanged.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			metadata := map[string]string{
				"plain": "value", "Case": "1", "case": "2", "with space": " x ", "quote'\"`": "'; DROP TABLE x; --",
				"unicode é 世界": "🚀 ß", "newline": "a\nb\r\nc\td", "empty": "", "json": `{"a":[1,"\u0000"]}`,
				"dots.and-dashes_": "%s %d $1 ?", "long": strings.Repeat("v", 1000), "backslash\\": `\\x\0`,
			}
			for _, who := range []string{"p", "P.p-p_p", strings.Repeat("n", 255)} {
				req := r.request(r.group(), who)
				req.Metadata = metadata
				l := a.mustAcquire(req)
				l.mustLead("with awkward values")
				wantMetadata(r, b, l.Group, metadata)
				if err := l.settled(map[string]string{"later é": "\"x\""}); err != nil {
					r.Errorf("Renew with awkward metadata: %v", err)
				}
				wantMetadata(r, b, l.Group, map[string]string{"later é": "\"x\""})
			}
		},
	},
	{
		ID:      "NAM-isolated",
		Title:   "groups do not disturb each other",
		Promise: "What happens in one group changes nothing in another, also for the same participant and client.",
		body: func(r *run) {
			a, b := r.client(), r.client()
			one, two := a.win(r.group(), "same"), a.win(r.group(), "same")
			mixed := driver.Term{Group: two.Group, Participant: "same", Token: one.Token, Nonce: one.Nonce}
			lost(r, a.resign(mixed), "Resign with the nonce of another group's term")
			(&lease{c: a, Term: mixed}).mustBeLost("its nonce belongs to another group")
			one.mustResign()
			two.mustLead("after the other group's Resign")
			next := b.win(one.Group, "next")
			two.mustLead("after the other group's next term")
			next.mustRenew()
		},
	},
}

func shorten(s string) string {
	if len(s) > 60 {
		return s[:20] + "…" + s[len(s)-20:] + fmt.Sprintf(" (%d bytes)", len(s))
	}
	return s
}
