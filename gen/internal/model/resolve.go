package model

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/multilock/multilock-go/gen/internal/spec"
)

// reserved are the hooks a backend can have.
var reservedHooks = []string{"adjust_info", "from_url", "validate"}

var interfaces = []string{"batch_acquirer", "batch_reader", "pinger", "watcher"}

// Resolve judges a spec and derives everything that follows from it. The error
// joins all faults, each with file and line.
func Resolve(file string, s *spec.Spec) (*Model, error) {
	r := &resolver{faults: spec.Faults{File: file}}
	m := &Model{Version: s.Version, Module: s.Module, Go: s.Go, Readme: s.Readme}
	r.match(s.At("version"), "version", s.Version, `^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`, "a version such as v0.1.0")
	r.match(s.At("go"), "go", s.Go, `^1\.\d+\.0$`, "a Go version that ends in .0, such as 1.26.0")
	r.match(s.At("module"), "module", s.Module, `^[a-z0-9.]+(/[a-zA-Z0-9._-]+)+$`, "a module path")
	m.Modules = r.modules(s)
	for i, b := range s.Backends {
		if i > 0 {
			switch prev := s.Backends[i-1].Name; {
			case prev == b.Name:
				r.add(b.At("name"), "backend %q is given twice", b.Name)
			case prev > b.Name:
				r.add(b.At("name"), "backend %q comes after %q; allowed: backends sorted by name", b.Name, prev)
			}
		}
		m.Backends = append(m.Backends, r.backend(m, b))
	}
	r.schemes(s)
	if err := r.faults.Err(); err != nil {
		return nil, err
	}
	return m, nil
}

type resolver struct{ faults spec.Faults }

func (r *resolver) add(line int, format string, args ...any) { r.faults.Add(line, format, args...) }

func (r *resolver) match(line int, what, value, pattern, allowed string) bool {
	if value == "" || regexp.MustCompile(pattern).MatchString(value) {
		return true
	}
	r.add(line, "%s: %q is not allowed; allowed: %s", what, value, allowed)
	return false
}

func (r *resolver) oneOf(line int, what, value string, allowed []string) {
	if !slices.Contains(allowed, value) {
		r.add(line, "%s: %q is not allowed; allowed: %s", what, value, strings.Join(allowed, ", "))
	}
}

func (r *resolver) modules(s *spec.Spec) []Module {
	var out []Module
	for i, mod := range s.Modules {
		r.match(mod.At("path"), "path", mod.Path, `^[a-z0-9]+(/[a-z0-9]+)*$`, "a directory of lower-case words below the root")
		if i > 0 && s.Modules[i-1].Path >= mod.Path {
			r.add(mod.At("path"), "module %q comes after %q; allowed: modules sorted by path, each once", mod.Path, s.Modules[i-1].Path)
		}
		if strings.HasPrefix(mod.Path, "backends/") {
			r.add(mod.At("path"), "module %q: modules of backends follow from the list of backends", mod.Path)
		}
		if mod.Outside && (mod.Released || mod.Installable) {
			r.add(mod.At("outside"), "module %q: a module outside the workspace can be neither released nor installable", mod.Path)
		}
		out = append(out, Module{Path: mod.Path, Doc: mod.Doc, Released: mod.Released, Installable: mod.Installable, Catalogue: mod.Catalogue, Outside: mod.Outside})
	}
	return out
}

func (r *resolver) backend(m *Model, b spec.Backend) Backend {
	r.match(b.At("name"), "name", b.Name, `^[a-z][a-z0-9]{1,30}$`, "a Go package name of lower-case letters and digits")
	r.oneOf(b.At("status"), b.Name+".status", b.Status, []string{"planned", "ready"})
	r.sentence(b.At("summary"), b.Name+".summary", b.Summary)
	out := Backend{
		Name: b.Name, Title: b.Title, Summary: b.Summary, Ready: b.Status == "ready",
		Dir: "backends/" + b.Name, Path: m.Module + "/backends/" + b.Name,
		DriverType: cmp.Or(b.DriverType, "store"), Client: b.Client,
		Schemes: b.URL.Schemes, Example: b.URL.Example, OthersToSDK: b.URL.Other == "sdk",
	}
	r.match(b.At("driver_type"), b.Name+".driver_type", b.DriverType, `^[A-Za-z][A-Za-z0-9]*$`, "a Go identifier")
	for _, h := range b.Hooks {
		r.oneOf(b.At("hooks"), b.Name+".hooks", h, reservedHooks)
	}
	r.sorted(b.At("hooks"), b.Name+".hooks", b.Hooks)
	out.AdjustInfo = slices.Contains(b.Hooks, "adjust_info")
	out.FromURL = slices.Contains(b.Hooks, "from_url")
	out.ValidateHook = slices.Contains(b.Hooks, "validate")
	r.url(b)
	out.Caps = r.capabilities(b)
	out.Tests = r.conformance(m, b)
	out.Service = r.service(b)
	out.Options = r.options(b)
	if b.Target != "" {
		for i, o := range out.Options {
			if o.Name == b.Target && (o.Kind == String || o.Kind == List || o.Kind == URL) {
				out.Target = &out.Options[i]
			}
		}
		if out.Target == nil {
			r.add(b.At("target"), "%s.target: %q is not allowed; allowed: the name of an option of type string, list or url", b.Name, b.Target)
		}
	}
	return out
}

func (r *resolver) url(b spec.Backend) {
	at := b.URL.At
	for _, s := range b.URL.Schemes {
		r.match(at("schemes"), b.Name+".url.schemes", s, `^[a-z][a-z0-9+.-]*$`, "a lower-case scheme")
	}
	if len(b.URL.Schemes) == 0 {
		r.add(at("schemes"), "%s.url.schemes: allowed: at least one scheme", b.Name)
	} else if scheme, _, ok := strings.Cut(b.URL.Example, "://"); !ok || !slices.Contains(b.URL.Schemes, scheme) {
		r.add(at("example"), "%s.url.example: %q is not allowed; allowed: a URL that starts with %s://", b.Name, b.URL.Example, strings.Join(b.URL.Schemes, ":// or "))
	}
	if b.URL.Has("other") {
		r.oneOf(at("other"), b.Name+".url.other", b.URL.Other, []string{"refuse", "sdk"})
	}
	if b.URL.Other == "sdk" && !slices.Contains(b.Hooks, "from_url") {
		r.add(at("other"), "%s.url.other: sdk needs the hook from_url", b.Name)
	}
}

func (r *resolver) schemes(s *spec.Spec) {
	seen := map[string]string{}
	for _, b := range s.Backends {
		for _, scheme := range b.URL.Schemes {
			if other, dup := seen[scheme]; dup {
				r.add(b.URL.At("schemes"), "%s.url.schemes: %q belongs to %s already", b.Name, scheme, other)
			}
			seen[scheme] = b.Name
		}
	}
}

func (r *resolver) sorted(line int, what string, list []string) {
	for i := 1; i < len(list); i++ {
		if list[i-1] >= list[i] {
			r.add(line, "%s: %q comes after %q; allowed: sorted, each once", what, list[i], list[i-1])
		}
	}
}

func (r *resolver) sentence(line int, what, s string) {
	if s != "" && !strings.HasSuffix(s, ".") {
		r.add(line, "%s: %q is not allowed; allowed: sentences that end with a full stop", what, s)
	}
}

func (r *resolver) conformance(m *Model, b spec.Backend) *Tests {
	c := b.Conformance
	if c == nil {
		return nil
	}
	out := &Tests{Siblings: slices.Sorted(slices.Values(c.Siblings)), Setups: c.Setups}
	where := b.Name + ".conformance."
	for _, q := range c.Requires {
		p, v, ok := strings.Cut(q, "@")
		if !ok || !strings.HasPrefix(v, "v") {
			r.add(c.At("requires"), "%srequires: %q is not allowed; allowed: path@version", where, q)
		}
		out.Requires = append(out.Requires, Require{p, v})
	}
	r.sorted(c.At("requires"), where+"requires", c.Requires)
	for _, s := range c.Siblings {
		if !slices.ContainsFunc(m.Modules, func(mod Module) bool { return mod.Path == s }) {
			r.add(c.At("siblings"), "%ssiblings: %q is not allowed; allowed: the path of a module of this file", where, s)
		}
	}
	for i, s := range c.Setups {
		r.match(c.At("setups"), where+"setups", s, `^[A-Z][A-Za-z0-9]*$`, "an exported Go identifier such as Cluster")
		if slices.Contains(c.Setups[:i], s) {
			r.add(c.At("setups"), "%ssetups: %q given twice", where, s)
		}
	}
	return out
}

func (r *resolver) service(b spec.Backend) *Service {
	s := b.Service
	if s == nil {
		return nil
	}
	r.match(s.At("test_env"), b.Name+".service.test_env", s.TestEnv, `^MULTILOCK_TEST_[A-Z0-9_]+$`, "a name that starts with MULTILOCK_TEST_")
	for _, p := range s.Ports {
		r.match(s.At("ports"), b.Name+".service.ports", p, `^(127\.0\.0\.1:)?\d+:\d+$`, `"host:container" port numbers, quoted`)
	}
	out := &Service{Image: s.Image, Command: s.Command, Ports: s.Ports, Health: s.Health, TestEnv: s.TestEnv, TestURL: s.TestURL, Install: s.Install}
	for k, v := range s.Env {
		out.Env = append(out.Env, Pair{k, v})
	}
	slices.SortFunc(out.Env, func(a, b Pair) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

func (r *resolver) capabilities(b spec.Backend) Capabilities {
	c := b.Capabilities
	at := func(k string) int { return c.At(k) }
	where := func(k string) string { return fmt.Sprintf("%s.capabilities.%s", b.Name, k) }
	for _, i := range c.Interfaces {
		r.oneOf(at("interfaces"), where("interfaces"), i, interfaces)
	}
	r.sorted(at("interfaces"), where("interfaces"), c.Interfaces)
	has := func(i string) bool { return slices.Contains(c.Interfaces, i) }
	if c.MinTTL <= 0 {
		r.add(at("min_ttl"), "%s: %v is not allowed; allowed: above 0", where("min_ttl"), c.MinTTL)
	}
	if c.MaxTTL != 0 && c.MaxTTL < c.MinTTL {
		r.add(at("max_ttl"), "%s: %v is not allowed; allowed: at least min_ttl (%v)", where("max_ttl"), c.MaxTTL, c.MinTTL)
	}
	if c.Calls < 1 {
		r.add(at("calls"), "%s: %d is not allowed; allowed: at least 1", where("calls"), c.Calls)
	}
	if c.ExpiryFactor != 0 && c.ExpiryFactor < 1 {
		r.add(at("expiry_factor"), "%s: %v is not allowed; allowed: at least 1", where("expiry_factor"), c.ExpiryFactor)
	}
	if (c.PushOnResign || c.PushOnExpiry) && !has("watcher") {
		r.add(at("interfaces"), "%s: a push needs the interface watcher", where("push_on_resign"))
	}
	if (c.ReadBatch > 0) != has("batch_reader") {
		r.add(at("read_batch"), "%s: goes together with the interface batch_reader", where("read_batch"))
	}
	if (c.AcquireBatch > 0) != has("batch_acquirer") {
		r.add(at("acquire_batch"), "%s: goes together with the interface batch_acquirer", where("acquire_batch"))
	}
	if c.PollDivisor != 0 && c.RemainingKnown {
		r.add(at("poll_divisor"), "%s: is for stores that do not tell the remaining time", where("poll_divisor"))
	}
	return Capabilities{
		MinTTL: c.MinTTL, MaxTTL: c.MaxTTL, TTLGranularity: c.TTLGranularity, Shortening: c.Shortening,
		ExpiryFactor: c.ExpiryFactor, ExpirySlack: c.ExpirySlack, RemainingKnown: c.RemainingKnown,
		PollDivisor: c.PollDivisor, PushOnResign: c.PushOnResign, PushOnExpiry: c.PushOnExpiry,
		Calls: c.Calls, Hedge: c.Hedge, RenewBatch: c.RenewBatch, ReadBatch: c.ReadBatch,
		AcquireBatch: c.AcquireBatch, RenewExpired: c.RenewExpired, Connections: c.Connections,
		Watcher: has("watcher"), BatchReader: has("batch_reader"), BatchAcquirer: has("batch_acquirer"), Pinger: has("pinger"),
		Clock: c.Clock, Crash: c.Crash, Wake: c.Wake, Token: c.Token,
	}
}
