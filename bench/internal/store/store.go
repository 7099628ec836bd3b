//go:build unix

// Package store starts the servers that are measured, and counts at them what
// they are asked.
package store

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/multilock/multilock-go/testservers/proc"
)

// Server is a store that runs.
type Server struct {
	// Name as in Names, and Title for people.
	Name, Title string
	// URL is the store as rival.Setting takes it.
	URL string
	// CountedURL is the store through something that counts, if that is needed; else
	// it is URL.
	CountedURL string
	// Version of the server.
	Version string
	// Requests is how many requests clients have made so far, and Unit what one of
	// them is. Requests is nil for stores that have no server.
	Requests func(ctx context.Context) (float64, error)
	Unit     string
	// Worked is how long the server has executed, so far, scripts and commands of
	// these names. It is nil for stores that do not tell.
	Worked func(ctx context.Context, commands []string) (time.Duration, error)
	// Settled is when the store behaves as it does later; measuring starts after it.
	Settled time.Time
	// StopCounting says that nobody asks Requests for a while.
	StopCounting func()

	scope *proc.Scope
	pid   func() int
}

// Close stops the server.
func (s *Server) Close() { s.scope.Close() }

type starter struct {
	name, title string
	start       func(tb proc.TB, s *Server)
}

var starters = []starter{
	{"memory", "Memory", memory},
	{"file", "File", file},
	{"redis", "Redis", redis},
	{"postgres", "PostgreSQL", postgres},
	{"consul", "Consul", consul},
	{"zookeeper", "ZooKeeper", zookeeper},
	{"sqlserver", "SQL Server (stand-in)", sqlserver},
	{"azblob", "Azure Blob (Azurite)", azblob},
	{"etcd", "etcd", etcd},
	{"kubernetes", "Kubernetes (stand-in)", kubernetes},
}

// Names are the stores that there are.
func Names() []string {
	var out []string
	for _, s := range starters {
		out = append(out, s.name)
	}
	return out
}

// Title is what people call a store.
func Title(name string) string {
	for _, s := range starters {
		if s.name == name {
			return s.title
		}
	}
	return name
}

// Start starts a store. If it cannot be started, for instance because the server
// is not installed, the error says so and how to install it.
func Start(name string) (*Server, error) {
	for _, s := range starters {
		if s.name == name {
			return start(s)
		}
	}
	return nil, fmt.Errorf("there is no store %q; there are %s", name, strings.Join(Names(), ", "))
}

func start(st starter) (s *Server, err error) {
	scope := &proc.Scope{}
	s = &Server{Name: st.name, Title: st.title, StopCounting: func() {}, scope: scope}
	defer func() {
		switch f := recover().(type) {
		case nil:
		case failure:
			scope.Close()
			s, err = nil, f
		default: // a bug, or a failure that the scope's own Fatalf made of one
			scope.Close()
			panic(f)
		}
	}()
	st.start(&loud{scope}, s)
	if s.CountedURL == "" {
		s.CountedURL = s.URL
	}
	return s, nil
}

// loud is a scope whose failures become errors of Start.
type loud struct{ *proc.Scope }

type failure struct{ error }

func (*loud) Fatalf(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}

// LibraryVersion is the version of a Go module that this program is built with.
func LibraryVersion(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, d := range info.Deps {
		if d.Path == module {
			return d.Version
		}
	}
	return "unknown"
}
