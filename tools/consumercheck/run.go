package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/multilock/multilock-go/testservers/azurite"
	"github.com/multilock/multilock-go/testservers/consul"
	"github.com/multilock/multilock-go/testservers/postgres"
	"github.com/multilock/multilock-go/testservers/redis"
	"github.com/multilock/multilock-go/testservers/tds"
	"github.com/multilock/multilock-go/testservers/zookeeper"
)

var (
	goBlock    = regexp.MustCompile("(?s)```go\n(.*?)```")
	importDecl = regexp.MustCompile(`(?s)^import \((.*?)\n\)\n`)
	address    = regexp.MustCompile(`"[a-z]+://[^"]*"`)
	directory  = regexp.MustCompile(`"/var/lib/[^"]*"`)
)

// leads is what a program of a quick start prints in its work.
const leads = "leading"

// quickStart makes a program of the first fragment of a backend's README. The
// store's address is its first argument.
func (c *checker) quickStart(name string) (string, error) {
	readme, err := os.ReadFile(filepath.Join(c.tree.Dir, "backends", name, "README.md"))
	if err != nil {
		return "", err
	}
	m := goBlock.FindSubmatch(readme)
	if m == nil {
		return "", errors.New("its README has no Go")
	}
	block := string(m[1])
	decl := importDecl.FindStringSubmatch(block)
	if decl == nil || len(address.FindAllString(block, -1)) != 1 {
		return "", errors.New("its README must begin with a fragment that imports, and names one address")
	}
	body := address.ReplaceAllLiteralString(strings.TrimPrefix(block, decl[0]), "os.Args[1]")
	return `package main

import (
	"context"
	"fmt"
	"os"
` + decl[1] + `
)

// what the fragments take for granted
func work(ctx context.Context, token uint64) error {
	fmt.Println("` + leads + `", token)
	return ctx.Err()
}

var report = work

func main() {
	_ = report
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
` + body + "}\n", nil
}

// lead runs a quick start against a server, until its work has returned.
func (c *checker) lead(name, binary string) error {
	address, env, err := c.server(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, address)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), leads) {
		return fmt.Errorf("the quick start printed %q: %w", out, errors.Join(err, ctx.Err()))
	}
	return nil
}

// server starts a store and returns its address.
func (c *checker) server(name string) (address string, env []string, err error) {
	tb := c.servers
	switch name {
	case "azblob":
		return "azblob:///consumer", []string{"MULTILOCK_AZBLOB_CONNECTION_STRING=" + azurite.ConnectionString(azurite.Start(tb).Addr)}, nil
	case "consul":
		return consul.Start(tb, consul.Options{}).URL(), nil, nil
	case "file":
		return "file://" + filepath.ToSlash(tb.TempDir()), nil, nil
	case "memory":
		return "memory://consumer", nil, nil
	case "postgres":
		return postgres.Start(tb, postgres.Options{}).URL(postgres.User, postgres.Password, "postgres"), nil, nil
	case "redis":
		return redis.Start(tb, redis.Options{}).URL(), nil, nil
	case "sqlserver": // a stand-in: the real one cannot be installed everywhere
		s, err := tds.Start(tds.Options{})
		if err != nil {
			return "", nil, err
		}
		tb.Cleanup(s.Stop)
		return s.URL(), nil, nil
	case "zookeeper":
		return "zookeeper://" + zookeeper.Start(tb, zookeeper.Options{Tick: 2 * time.Second}).Addr + "/consumer", nil, nil
	}
	return "", nil, errors.New("consumercheck knows no server for it; add one")
}

// readme runs the whole programs of README.md, each until it leads, and then
// interrupts it as a user would.
func (c *checker) readme() error {
	text, err := os.ReadFile(filepath.Join(c.tree.Dir, "README.md"))
	if err != nil {
		return err
	}
	n := 0
	for _, m := range goBlock.FindAllSubmatch(text, -1) {
		program := string(m[1])
		if !strings.HasPrefix(program, "package main") {
			continue
		}
		n++
		var gets []string
		for _, m := range regexp.MustCompile(`"`+regexp.QuoteMeta(prefix)+`([^"]+)"`).FindAllStringSubmatch(program, -1) {
			gets = append(gets, c.at(m[1]))
		}
		program = directory.ReplaceAllLiteralString(program, strconv.Quote(c.servers.TempDir()))
		_, binary, err := c.program(fmt.Sprintf("readme-%d", n), program, gets...)
		if err == nil {
			err = interrupt(binary)
		}
		if err != nil {
			return fmt.Errorf("program %d: %w", n, err)
		}
	}
	if n == 0 {
		return errors.New("it has no whole program")
	}
	return nil
}

// interrupt starts a program and interrupts it as soon as it says that it leads.
func interrupt(binary string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary)
	out := &output{signal: func() { _ = cmd.Process.Signal(os.Interrupt) }}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if err != nil || !out.done {
		return fmt.Errorf("it printed %q: %w", out.text.String(), errors.Join(err, ctx.Err()))
	}
	return nil
}

// output waits for a word.
type output struct {
	mu     sync.Mutex
	text   bytes.Buffer
	done   bool
	signal func()
}

// Write keeps b, and tells once when the word has come.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	if !o.done && strings.Contains(o.text.String(), leads) {
		o.done = true
		o.signal()
	}
	return len(b), nil
}
