package redis

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// encodeMetadata returns what is stored for m; nothing for nil.
func encodeMetadata(m map[string]string) (string, error) {
	if m == nil {
		return "", nil
	}
	b, err := json.Marshal(m)
	return string(b), err
}

// micros is d in the unit of the scripts.
func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

func parseMicros(s string) (time.Duration, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && (n < 0 || n > int64(1<<63-1)/1000) {
		err = strconv.ErrRange
	}
	return time.Duration(n) * time.Microsecond, err
}

// errForeign says that the key of a group holds something else.
type errForeign struct{ key string }

func (e errForeign) Error() string {
	return fmt.Sprintf("redis: key %q does not hold a leader record; if nobody else needs it, delete it", e.key)
}

func errReply(fields []string) error { return fmt.Errorf("redis: unexpected reply %.200q", fields) }

// held is the error of an attempt in a group that cannot be read as free.
func held(group, key string, fields []string) error {
	if fields[0] == "foreign" {
		rec := driver.Record{Remaining: driver.RemainingUnknown}
		rec.Group = group
		return fmt.Errorf("%w: %w", &driver.HeldError{Record: rec}, errForeign{key})
	}
	rec, err := parseRecord(group, fields)
	if err != nil {
		return err
	}
	return &driver.HeldError{Record: rec}
}

// parseRecord reads what describe in common.lua wrote.
func parseRecord(group string, fields []string) (driver.Record, error) {
	var rec driver.Record
	if len(fields) != 8 {
		return rec, errReply(fields)
	}
	rec.Group, rec.Participant = group, fields[2]
	var err error
	if fields[1] != "" { // nobody's during a grace
		if rec.Nonce, err = driver.ParseNonce(fields[1]); err != nil {
			return rec, err
		}
	}
	if rec.Token, err = strconv.ParseUint(fields[3], 10, 64); err != nil {
		return rec, err
	}
	if rec.Remaining, err = parseMicros(fields[4]); err != nil {
		return rec, err
	}
	if rec.TTL, err = parseMicros(fields[5]); err != nil {
		return rec, err
	}
	rec.AcquiredAt = parseTime(fields[6])
	if fields[7] != "" {
		err = json.Unmarshal([]byte(fields[7]), &rec.Metadata)
	}
	return rec, err
}

// parseTime is for people: what cannot be read is no time.
func parseTime(s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}

func parseGrant(fields []string) (driver.Grant, error) {
	if len(fields) != 4 || fields[0] != "ok" {
		return driver.Grant{}, errReply(fields)
	}
	token, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return driver.Grant{}, err
	}
	granted, err := parseMicros(fields[3])
	return driver.Grant{Token: token, Granted: granted, AcquiredAt: parseTime(fields[2])}, err
}
