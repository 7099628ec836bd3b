// Package spec reads backends.yaml: strictly, and with the line of every value,
// so that each fault of a spec can be told with its place.
//
// It knows the shape of the file and nothing of its meaning; package model
// judges that.
package spec

import "time"

// Spec is the file.
type Spec struct {
	Pos
	// Version is the version of all modules that are released together.
	Version string `yaml:"version,required"`
	// Module is the prefix of all module paths.
	Module string `yaml:"module,required"`
	// Go is the go line of generated go.mod files.
	Go string `yaml:"go,required"`
	// Readme is the file that gets the table of all backends.
	Readme string `yaml:"readme"`
	// Modules are the modules beside the backends.
	Modules []Module `yaml:"modules"`
	// Backends are the stores, sorted by name.
	Backends []Backend `yaml:"backends,required"`
}

// Module is a module of the repository that is no backend.
type Module struct {
	Pos
	// Path is the directory below the root.
	Path string `yaml:"path,required"`
	// Released modules are tagged; the others are for tests and examples.
	Released bool `yaml:"released"`
	// Installable modules hold a command and may not have replace lines; the
	// workspace answers for their siblings.
	Installable bool `yaml:"installable"`
	// Catalogue modules are commands that open any backend by URL: they get a table
	// of all schemes.
	Catalogue bool `yaml:"catalogue"`
	// Outside modules are no part of the workspace.
	Outside bool `yaml:"outside"`
	// Doc says in one sentence what the module is.
	Doc string `yaml:"doc,required"`
}

// Backend is one store.
type Backend struct {
	Pos
	Name         string       `yaml:"name,required"`
	Status       string       `yaml:"status,required"`
	Title        string       `yaml:"title,required"`
	Summary      string       `yaml:"summary,required"`
	DriverType   string       `yaml:"driver_type"`
	Client       bool         `yaml:"client"`
	Target       string       `yaml:"target"`
	URL          URL          `yaml:"url,required"`
	Hooks        []string     `yaml:"hooks"`
	Capabilities Capabilities `yaml:"capabilities,required"`
	Conformance  *Conformance `yaml:"conformance"`
	Service      *Service     `yaml:"service"`
	Options      []Option     `yaml:"options,required"`
}

// URL says which URLs open the backend.
type URL struct {
	Pos
	Schemes []string `yaml:"schemes,required"`
	Example string   `yaml:"example,required"`
	// Other says what happens to parameters that are not ours: refuse or sdk.
	Other string `yaml:"other"`
}

// Capabilities are the fields of driver.Info that do not depend on options, and
// the optional interfaces the driver implements.
type Capabilities struct {
	Pos
	MinTTL         time.Duration `yaml:"min_ttl,required"`
	MaxTTL         time.Duration `yaml:"max_ttl"`
	TTLGranularity time.Duration `yaml:"ttl_granularity"`
	Shortening     time.Duration `yaml:"shortening"`
	ExpiryFactor   float64       `yaml:"expiry_factor"`
	ExpirySlack    time.Duration `yaml:"expiry_slack"`
	RemainingKnown bool          `yaml:"remaining_known"`
	PollDivisor    int           `yaml:"poll_divisor"`
	PushOnResign   bool          `yaml:"push_on_resign"`
	PushOnExpiry   bool          `yaml:"push_on_expiry"`
	Calls          int           `yaml:"calls,required"`
	Hedge          bool          `yaml:"hedge"`
	RenewBatch     int           `yaml:"renew_batch"`
	ReadBatch      int           `yaml:"read_batch"`
	AcquireBatch   int           `yaml:"acquire_batch"`
	RenewExpired   bool          `yaml:"renew_expired"`
	Connections    int           `yaml:"connections"`
	Interfaces     []string      `yaml:"interfaces"`
	// Clock says whose clock decides; for the tables.
	Clock string `yaml:"clock,required"`
	// Crash says in words after how long a crashed leader is replaced.
	Crash string `yaml:"crash,required"`
	// Wake says in words what wakes followers.
	Wake string `yaml:"wake,required"`
	// Token says where tokens come from.
	Token string `yaml:"token,required"`
}

// Conformance describes the nested test module.
type Conformance struct {
	Pos
	// Requires are other modules its go.mod needs: path@version.
	Requires []string `yaml:"requires"`
	// Siblings are modules of this repository it needs beside core, conformance
	// and the backend.
	Siblings []string `yaml:"siblings"`
	// Setups are topologies beside the plain one that get entry tests of their own.
	Setups []string `yaml:"setups"`
}

// Service is the server that tests and examples use.
type Service struct {
	Pos
	Image   string            `yaml:"image,required"`
	Command []string          `yaml:"command"`
	Env     map[string]string `yaml:"env"`
	Ports   []string          `yaml:"ports,required"`
	Health  []string          `yaml:"health"`
	// TestEnv is the variable that points the tests at another server.
	TestEnv string `yaml:"test_env,required"`
	// TestURL is its value for the server of the compose file.
	TestURL string `yaml:"test_url,required"`
	// Install is the shell command that gives CI the native server.
	Install string `yaml:"install"`
}

// Option is one field of a backend's Options.
type Option struct {
	Pos
	Name string `yaml:"name,required"`
	Type string `yaml:"type"`
	// GoType makes a field for Go code only, such as "*crypto/tls.Config".
	GoType  string `yaml:"go_type"`
	Doc     string `yaml:"doc,required"`
	Default *Value `yaml:"default"`
	// DefaultDoc says in words what an empty option means, where there is no
	// fixed default.
	DefaultDoc string `yaml:"default_doc"`
	Required   bool   `yaml:"required"`
	Min        *Value `yaml:"min"`
	Max        *Value `yaml:"max"`
	// Values are those of an enum. The first is not special; see Default.
	Values []EnumValue `yaml:"values"`
	// Pattern is a regular expression for strings and list elements, Allowed the
	// sentence for people that goes with it.
	Pattern string `yaml:"pattern"`
	Allowed string `yaml:"allowed"`
	// Connection options say how a client is made and are refused beside a client
	// of the user's own.
	Connection bool `yaml:"connection"`
	// URL and Env override the derived names; "-" means none.
	URL string `yaml:"url"`
	Env string `yaml:"env"`
}

// EnumValue is one value of an enum.
type EnumValue struct {
	Pos
	Value string `yaml:"value,required"`
	Name  string `yaml:"name"`
	Doc   string `yaml:"doc,required"`
}

// Value is a scalar or a list of scalars whose type depends on the option.
type Value struct {
	Line   int
	Scalar string
	List   []string
	IsList bool
}

// Pos is where a mapping and its keys stand.
type Pos struct {
	Line int
	keys map[string]int
}

// At is the line of a key, or of the mapping if it has no such key.
func (p Pos) At(key string) int {
	if l, ok := p.keys[key]; ok {
		return l
	}
	return p.Line
}

// Has reports whether the mapping has the key.
func (p Pos) Has(key string) bool {
	_, ok := p.keys[key]
	return ok
}

func (p *Pos) setPos(line int, keys map[string]int) { p.Line, p.keys = line, keys }

type positioned interface{ setPos(int, map[string]int) }
