//go:build unix

package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/multilock/multilock-go/testservers/proc"
)

// redisMonitor counts what clients send by MONITOR while somebody asks for
// counts: INFO commandstats counts what scripts call as well, and cannot tell the
// two apart. It listens only between the first and the last question of a
// measurement, see Watch, because MONITOR slows the server down.
type redisMonitor struct {
	addr string

	mu   sync.Mutex
	conn net.Conn
	n    atomic.Int64
}

func monitor(tb proc.TB, addr string) *redisMonitor {
	m := &redisMonitor{addr: addr}
	tb.Cleanup(m.stop)
	return m
}

func (m *redisMonitor) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil {
		_ = m.conn.Close()
		m.conn = nil
	}
}

func (m *redisMonitor) count(ctx context.Context) (float64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn == nil {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", m.addr)
		if err != nil {
			return 0, err
		}
		r := bufio.NewReaderSize(c, 1<<16)
		if _, err = io.WriteString(c, "MONITOR\r\n"); err == nil {
			_, err = r.ReadString('\n')
		}
		if err != nil {
			_ = c.Close()
			return 0, err
		}
		m.conn = c
		go m.read(r)
	}
	return float64(m.n.Load()), nil
}

func (m *redisMonitor) read(r *bufio.Reader) {
	for {
		line, err := r.ReadSlice('\n')
		whole := err == nil
		for err == bufio.ErrBufferFull { // the rest of a long command
			_, err = r.ReadSlice('\n')
			whole = err == nil
		}
		if !whole {
			return
		}
		if fromClient(line) {
			m.n.Add(1)
		}
	}
}

// fromClient reports whether a line of MONITOR, such as
//
//	+1795493483.462090 [0 127.0.0.1:51234] "evalsha" ...
//
// tells of a client's command and not of one that a script called.
func fromClient(line []byte) bool {
	_, rest, ok := strings.Cut(string(line[:min(len(line), 100)]), " [")
	if !ok {
		return false
	}
	source, _, ok := strings.Cut(rest, "]")
	return ok && !strings.HasSuffix(source, " lua")
}

// commandTime asks INFO commandstats. The time of a script contains that of the
// commands which it calls; these are listed under their own names as well, so that
// only scripts may be added up, and commands that no script calls.
func commandTime(tb proc.TB, addr string) func(context.Context, []string) (time.Duration, error) {
	c := goredis.NewClient(&goredis.Options{Addr: addr, DisableIdentity: true})
	tb.Cleanup(func() { _ = c.Close() })
	return func(ctx context.Context, commands []string) (time.Duration, error) {
		text, err := c.Info(ctx, "commandstats").Result()
		if err != nil {
			return 0, err
		}
		return usecOf(text, append([]string{"eval", "evalsha"}, commands...))
	}
}

// usecOf adds up the times of commands in INFO commandstats, whose lines are such as
//
//	cmdstat_evalsha:calls=2,usec=57,usec_per_call=28.50,rejected_calls=0,failed_calls=0
//
// A command that was never called has none.
func usecOf(text string, commands []string) (sum time.Duration, err error) {
	for line := range strings.Lines(text) {
		name, fields, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
		if !ok || !slices.Contains(commands, name) {
			continue
		}
		_, usec, _ := strings.Cut(fields, ",usec=")
		usec, _, _ = strings.Cut(usec, ",")
		n, err := strconv.ParseInt(usec, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
		}
		sum += time.Duration(n) * time.Microsecond
	}
	return sum, nil
}

// statements counts by pg_stat_statements, without what this function asks.
func statements(tb proc.TB, dsn string) (count func(context.Context) (float64, error), version string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		tb.Fatalf("postgres: %v", err)
	}
	tb.Cleanup(func() { _ = c.Close(context.Background()) })
	if _, err := c.Exec(ctx, "CREATE EXTENSION pg_stat_statements"); err != nil {
		tb.Fatalf("pg_stat_statements, which belongs to postgresql-contrib: %v", err)
	}
	if err := c.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
		tb.Fatalf("postgres: %v", err)
	}
	version, _, _ = strings.Cut(version, " ")
	var mu sync.Mutex
	return func(ctx context.Context) (n float64, err error) {
		mu.Lock()
		defer mu.Unlock()
		err = c.QueryRow(ctx, "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements WHERE toplevel AND query NOT LIKE '%pg_stat_statements%'").Scan(&n)
		return n, err
	}, version
}

// httpCounter is a reverse proxy that counts requests.
type httpCounter struct {
	addr string
	n    atomic.Int64
}

func countingProxy(tb proc.TB, target string) *httpCounter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("counting proxy: %v", err)
	}
	c := &httpCounter{addr: l.Addr().String()}
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: target})
	p.Transport = &http.Transport{MaxIdleConnsPerHost: 1000, IdleConnTimeout: time.Minute}
	p.ErrorLog = log.New(io.Discard, "", 0) // clients that are killed in the middle of an answer
	p.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.n.Add(1)
		p.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(l) }() // ends with Close
	tb.Cleanup(func() { _ = server.Close() })
	return c
}

func (c *httpCounter) count(context.Context) (float64, error) { return float64(c.n.Load()), nil }

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// field is the number behind a name at the beginning of a line.
func field(text, name string) (float64, error) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			return strconv.ParseFloat(f[1], 64)
		}
	}
	return 0, fmt.Errorf("there is no %s", name)
}

// sumOf adds up all series of a metric in Prometheus's text format.
func sumOf(text, metric string) (sum float64, err error) {
	found := false
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, metric+"{")
		if !ok {
			continue
		}
		_, value, _ := strings.Cut(rest, "} ")
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", metric, err)
		}
		sum, found = sum+n, true
	}
	if !found {
		return 0, fmt.Errorf("there is no %s", metric)
	}
	return sum, nil
}
