// Package model is the resolved spec: names derived, defaults typed, everything
// in a fixed order, every fault found. Emitters see nothing else.
package model

import (
	"regexp"
	"slices"
	"time"
)

// Model is all that emitters know.
type Model struct {
	Version  string
	Module   string
	Go       string
	Readme   string    // gets the table of all backends; empty if there is none
	Modules  []Module  // sorted by path
	Backends []Backend // sorted by name
	// Rules are those of the conformance kit. They are no part of the spec; see
	// ParseRules.
	Rules []Rule
}

// Released lists the directories of the modules that are tagged, sorted.
func (m *Model) Released() []string {
	var out []string
	for _, mod := range m.Modules {
		if mod.Released {
			out = append(out, mod.Path)
		}
	}
	for _, b := range m.Ready() {
		out = append(out, b.Dir)
	}
	slices.Sort(out)
	return out
}

// Module is a module that is no backend.
type Module struct {
	Path, Doc                                 string
	Released, Installable, Catalogue, Outside bool
}

// Backend is one store.
type Backend struct {
	Name, Title, Summary string
	// Ready backends have their hand-written half; of a planned one only the
	// options are generated.
	Ready bool
	// Dir is the directory, Path the import path.
	Dir, Path string
	// DriverType is the hand-written type the interface assertions name.
	DriverType string
	// Client says that a client of the user's own can be given.
	Client bool
	// Target is the option that tells people where the store is, or nil.
	Target *Option

	Schemes     []string
	Example     string
	OthersToSDK bool

	AdjustInfo, FromURL, ValidateHook bool

	Caps    Capabilities
	Tests   *Tests // nil while there is no test module
	Service *Service
	Options []Option
}

// Tests describe the nested test module.
type Tests struct {
	Requires []Require
	Siblings []string // sorted
	// Setups are further topologies that get entry tests of their own.
	Setups []string
}

// Capabilities as in driver.Info, and the words of the tables.
type Capabilities struct {
	MinTTL, MaxTTL, TTLGranularity, Shortening, ExpirySlack time.Duration
	ExpiryFactor                                            float64
	RemainingKnown, PushOnResign, PushOnExpiry              bool
	Hedge, RenewExpired                                     bool
	PollDivisor, Calls, RenewBatch, ReadBatch, AcquireBatch int
	Connections                                             int
	Watcher, BatchReader, BatchAcquirer, Pinger             bool
	Clock, Crash, Wake, Token                               string
}

// Require is a line of a go.mod.
type Require struct{ Path, Version string }

// Service is a server for tests.
type Service struct {
	Image            string
	Command          []string
	Env              []Pair // sorted
	Ports            []string
	Health           []string
	TestEnv, TestURL string
	Install          string
}

// Pair is a key and its value.
type Pair struct{ Key, Value string }

// Kind is the type of an option.
type Kind string

// The kinds of options.
const (
	String   Kind = "string"
	Bool     Kind = "bool"
	Int      Kind = "int"
	Duration Kind = "duration"
	Enum     Kind = "enum"
	Secret   Kind = "secret"
	List     Kind = "list"
	URL      Kind = "url"
	Go       Kind = "go" // only from Go code
)

// Kinds are those a spec may name.
var Kinds = []Kind{Bool, Duration, Enum, Int, List, Secret, String, URL}

// Option is one field of Options.
type Option struct {
	Name string
	Kind Kind
	Doc  string
	// Default holds a string, int, time.Duration or []string, or is nil.
	Default    any
	DefaultDoc string
	Required   bool
	// Min and Max hold an int or time.Duration, or are nil.
	Min, Max   any
	Values     []EnumValue
	Pattern    *regexp.Regexp
	Allowed    string
	Connection bool
	// URLKey is the parameter without its prefix, EnvName the whole variable;
	// empty means none.
	URLKey, EnvName string
	// GoPointer, GoPackage and GoName are the type of a Go field.
	GoPointer         bool
	GoPackage, GoName string
}

// EnumValue is one value of an enum option and the Go constant for it.
type EnumValue struct{ Value, Const, Doc string }

// Secrecy reports whether the value may not be shown.
func (o Option) Secrecy() bool { return o.Kind == Secret }

// Ready are the backends whose hand-written half exists.
func (m *Model) Ready() []Backend {
	var out []Backend
	for _, b := range m.Backends {
		if b.Ready {
			out = append(out, b)
		}
	}
	return out
}

// ByName finds a backend.
func (m *Model) ByName(name string) (Backend, bool) {
	for _, b := range m.Backends {
		if b.Name == name {
			return b, true
		}
	}
	return Backend{}, false
}
