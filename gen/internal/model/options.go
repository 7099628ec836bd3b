package model

import (
	"cmp"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/multilock/multilock-go/gen/internal/spec"
)

// taken are names of generated methods that a field may not have.
var taken = []string{"GoString", "LogValue", "String", "Validate"}

func (r *resolver) options(b spec.Backend) []Option {
	var out []Option
	names, urls, envs := map[string]int{}, map[string]string{}, map[string]string{}
	for _, o := range b.Options {
		where := b.Name + "." + o.Name
		r.match(o.At("name"), b.Name+".name", o.Name, `^[A-Z][A-Za-z0-9]*$`, "an exported Go identifier")
		if slices.Contains(taken, o.Name) {
			r.add(o.At("name"), "%s: the name belongs to a generated method; allowed: another", where)
		}
		if first, dup := names[o.Name]; dup {
			r.add(o.At("name"), "%s: option given twice, first in line %d", where, first)
		}
		names[o.Name] = o.At("name")
		m := r.option(b, o, where)
		if m.URLKey != "" {
			if other, dup := urls[m.URLKey]; dup {
				r.add(o.Line, "%s: URL parameter %q belongs to %s already", where, m.URLKey, other)
			}
			urls[m.URLKey] = o.Name
		}
		if m.EnvName != "" {
			if other, dup := envs[m.EnvName]; dup {
				r.add(o.Line, "%s: variable %s belongs to %s already", where, m.EnvName, other)
			}
			envs[m.EnvName] = o.Name
		}
		out = append(out, m)
	}
	return out
}

func (r *resolver) option(b spec.Backend, o spec.Option, where string) Option {
	m := Option{Name: o.Name, Kind: Kind(o.Type), Doc: o.Doc, DefaultDoc: o.DefaultDoc, Required: o.Required, Connection: o.Connection, Allowed: o.Allowed}
	r.sentence(o.At("doc"), where+".doc", o.Doc)
	if o.Doc != "" && !strings.HasPrefix(o.Doc, o.Name+" ") {
		r.add(o.At("doc"), "%s.doc: %q is not allowed; allowed: sentences of which the first begins with %s", where, o.Doc, o.Name)
	}
	if o.Has("type") == o.Has("go_type") {
		r.add(o.Line, "%s: allowed: either type or go_type", where)
		return m
	}
	if o.GoType != "" {
		r.goType(o, where, &m)
		return m
	}
	if !slices.Contains(Kinds, m.Kind) {
		var all []string
		for _, k := range Kinds {
			all = append(all, string(k))
		}
		r.oneOf(o.At("type"), where+".type", o.Type, all)
		return m
	}
	m.URLKey, m.EnvName = snake(o.Name), "MULTILOCK_"+strings.ToUpper(b.Name+"_"+snake(o.Name))
	if m.Kind == Secret {
		m.URLKey = "" // a URL travels further than its author thinks
	}
	if o.URL != "" {
		m.URLKey = strings.TrimSuffix(o.URL, "-")
		r.match(o.At("url"), where+".url", m.URLKey, `^[a-z][a-z0-9_]*$`, `a name such as key_prefix, or "-" for none`)
	}
	if o.Env != "" {
		m.EnvName = strings.TrimSuffix(o.Env, "-")
		r.match(o.At("env"), where+".env", m.EnvName, `^[A-Z][A-Z0-9_]*$`, `a name such as MULTILOCK_REDIS_ADDRS, or "-" for none`)
	}
	if m.EnvName == "MULTILOCK_"+strings.ToUpper(b.Name)+"_URL" {
		r.add(o.At("name"), "%s: variable %s holds the URL of the backend; set env to another", where, m.EnvName)
	}
	if m.Kind == Secret && m.URLKey != "" {
		r.add(o.At("url"), "%s.url: a secret has no URL parameter", where)
	}
	r.values(o, where, &m)
	r.bounds(o, where, &m)
	r.pattern(o, where, &m)
	if o.Default != nil {
		m.Default = r.defaultValue(o, where, m)
	}
	if o.Required && o.Default != nil {
		r.add(o.At("required"), "%s: an option with a default cannot be required", where)
	}
	if o.Required && (m.Kind == Bool || m.Kind == Int || m.Kind == Duration) {
		r.add(o.At("required"), "%s: a %s cannot be required, since its zero value cannot be told from none", where, m.Kind)
	}
	if o.Default != nil && o.DefaultDoc != "" {
		r.add(o.At("default_doc"), "%s: allowed: either default or default_doc", where)
	}
	return m
}

func (r *resolver) goType(o spec.Option, where string, m *Option) {
	m.Kind = Go
	t, ptr := strings.CutPrefix(o.GoType, "*")
	m.GoPointer = ptr
	i := strings.LastIndex(t, ".")
	if i == 0 || !token.IsIdentifier(t[i+1:]) {
		r.add(o.At("go_type"), "%s.go_type: %q is not allowed; allowed: import/path.Name, or Name of the backend itself, with an optional * before it", where, o.GoType)
		return
	}
	m.GoPackage, m.GoName = t[:max(i, 0)], t[i+1:]
	for _, k := range []string{"default", "required", "min", "max", "values", "pattern", "url", "env"} {
		if o.Has(k) {
			r.add(o.At(k), "%s.%s: is not for fields with go_type", where, k)
		}
	}
}

func (r *resolver) values(o spec.Option, where string, m *Option) {
	if (m.Kind == Enum) != (len(o.Values) > 0) {
		r.add(o.Line, "%s: values go together with type enum", where)
		return
	}
	seen := map[string]bool{}
	for _, v := range o.Values {
		r.match(v.At("value"), where+".values", v.Value, `^[a-z][a-z0-9-]*$`, "lower-case words joined by -")
		if seen[v.Value] {
			r.add(v.Line, "%s.values: %q given twice", where, v.Value)
		}
		seen[v.Value] = true
		r.sentence(v.At("doc"), where+".values."+v.Value, v.Doc)
		m.Values = append(m.Values, EnumValue{v.Value, o.Name + cmp.Or(v.Name, constName(v.Value)), v.Doc})
	}
	if m.Kind == Enum && o.Default == nil {
		r.add(o.Line, "%s: an enum needs a default", where)
	}
}

func (r *resolver) bounds(o spec.Option, where string, m *Option) {
	if (o.Min != nil || o.Max != nil) && m.Kind != Int && m.Kind != Duration {
		r.add(o.Line, "%s: min and max are for int and duration", where)
		return
	}
	if o.Min != nil {
		m.Min = r.number(o.Min, where+".min", m.Kind)
	}
	if o.Max != nil {
		m.Max = r.number(o.Max, where+".max", m.Kind)
	}
	if m.Min != nil && m.Max != nil && less(m.Max, m.Min) {
		r.add(o.At("max"), "%s: max %v is below min %v", where, m.Max, m.Min)
	}
}

func (r *resolver) pattern(o spec.Option, where string, m *Option) {
	if o.Pattern == "" {
		if o.Allowed != "" {
			r.add(o.At("allowed"), "%s: allowed goes together with pattern", where)
		}
		return
	}
	if m.Kind != String && m.Kind != List && m.Kind != URL {
		r.add(o.At("pattern"), "%s: a pattern is for string, list and url", where)
	}
	if o.Allowed == "" {
		r.add(o.At("pattern"), "%s: a pattern needs allowed, the words for it", where)
	}
	p, err := regexp.Compile(o.Pattern)
	if err != nil || !strings.HasPrefix(o.Pattern, "^") || !strings.HasSuffix(o.Pattern, "$") {
		r.add(o.At("pattern"), "%s.pattern: %q is not allowed; allowed: a regular expression of Go between ^ and $", where, o.Pattern)
		return
	}
	m.Pattern = p
}

// number reads an int or a duration; it is nil after a fault.
func (r *resolver) number(v *spec.Value, where string, k Kind) any {
	if k == Duration {
		d, err := time.ParseDuration(v.Scalar)
		if err != nil || v.IsList {
			r.add(v.Line, "%s: %q is not allowed; allowed: a duration such as 30s", where, v.Scalar)
			return nil
		}
		return d
	}
	i, err := strconv.Atoi(v.Scalar)
	if err != nil || v.IsList {
		r.add(v.Line, "%s: %q is not allowed; allowed: a whole number", where, v.Scalar)
		return nil
	}
	return i
}

func (r *resolver) defaultValue(o spec.Option, where string, m Option) any {
	v := o.Default
	if v.IsList != (m.Kind == List) {
		r.add(v.Line, "%s.default: a %s has a %s as default", where, m.Kind, map[bool]string{true: "list", false: "scalar"}[m.Kind == List])
		return nil
	}
	switch m.Kind {
	case Bool, Secret:
		r.add(v.Line, "%s: a %s has no default; a bool is false: name it so that false is what most want", where, m.Kind)
		return nil
	case Int, Duration:
		d := r.number(v, where+".default", m.Kind)
		if d == nil {
			return nil
		}
		if d == any(0) || d == any(time.Duration(0)) {
			r.add(v.Line, "%s.default: 0 is the zero value anyway; leave it out", where)
		} else if m.Min != nil && less(d, m.Min) || m.Max != nil && less(m.Max, d) {
			r.add(v.Line, "%s.default: %v is outside min and max", where, d)
		}
		return d
	case Enum:
		if len(m.Values) > 0 && !slices.ContainsFunc(m.Values, func(e EnumValue) bool { return e.Value == v.Scalar }) {
			r.add(v.Line, "%s.default: %q is none of the values", where, v.Scalar)
		}
		return v.Scalar
	case List:
		for _, e := range v.List {
			r.matches(v.Line, where, m, e)
		}
		return v.List
	default:
		r.matches(v.Line, where, m, v.Scalar)
		return v.Scalar
	}
}

func (r *resolver) matches(line int, where string, m Option, s string) {
	if m.Pattern != nil && !m.Pattern.MatchString(s) {
		r.add(line, "%s.default: %q does not match the pattern; allowed: %s", where, s, m.Allowed)
	}
}

// less compares two ints or two durations.
func less(a, b any) bool {
	if d, ok := a.(time.Duration); ok {
		e, _ := b.(time.Duration)
		return d < e
	}
	i, _ := a.(int)
	j, _ := b.(int)
	return i < j
}
