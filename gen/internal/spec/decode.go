package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing wrong with a file.
type Fault struct {
	File string
	Line int
	Msg  string
}

func (f *Fault) Error() string {
	if f.Line == 0 {
		return f.File + ": " + f.Msg
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Msg)
}

// Faults collects what is wrong and tells it sorted by line.
type Faults struct {
	File string
	list []*Fault
}

// Add notes a fault.
func (f *Faults) Add(line int, format string, args ...any) {
	f.list = append(f.list, &Fault{f.File, line, fmt.Sprintf(format, args...)})
}

// Err joins the faults, or is nil if there are none.
func (f *Faults) Err() error {
	sort.SliceStable(f.list, func(i, j int) bool { return f.list[i].Line < f.list[j].Line })
	var errs []error
	for _, e := range f.list {
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

// Parse reads a spec. file is the name told in faults.
func Parse(file string, data []byte) (*Spec, error) {
	d := &decoder{faults: Faults{File: file}}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &Fault{file, 1, "the file is empty; required: version, module, go, backends"}
		}
		return nil, syntaxFault(file, err)
	}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, &Fault{file, max(second.Line, doc.Line), "more than one document; allowed: one"}
	}
	var s Spec
	d.decode(doc.Content[0], "", reflect.ValueOf(&s).Elem())
	if err := d.faults.Err(); err != nil {
		return nil, err
	}
	return &s, nil
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

func syntaxFault(file string, err error) error {
	m := syntaxLine.FindStringSubmatch(err.Error())
	if m == nil {
		return &Fault{file, 1, err.Error()}
	}
	line, _ := strconv.Atoi(m[1])
	return &Fault{file, max(line, 1), "not YAML: " + m[2]}
}

type decoder struct{ faults Faults }

var (
	durationType = reflect.TypeFor[time.Duration]()
	valueType    = reflect.TypeFor[Value]()
)

// decode fills v from n and notes every fault. path names the place for people.
func (d *decoder) decode(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.faults.Add(n.Line, "%s: anchors and aliases are not allowed; write the value out", name(path))
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(n, path, v.Elem())
	case v.Type() == durationType:
		if s, ok := d.scalar(n, path, "a duration such as 1m30s"); ok {
			t, err := time.ParseDuration(s)
			if err != nil {
				d.faults.Add(n.Line, "%s: %q is not a duration; allowed: 1m30s, 200ms", name(path), s)
			}
			v.SetInt(int64(t))
		}
	case v.Type() == valueType:
		v.Set(reflect.ValueOf(d.value(n, path)))
	case v.Kind() == reflect.Struct:
		d.mapping(n, path, v)
	case v.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.faults.Add(n.Line, "%s: allowed: a list", name(path))
			return
		}
		for i, e := range n.Content {
			item := reflect.New(v.Type().Elem()).Elem()
			d.decode(e, fmt.Sprintf("%s[%s]", path, itemName(e, i)), item)
			v.Set(reflect.Append(v, item))
		}
	case v.Kind() == reflect.Map:
		d.stringMap(n, path, v)
	default:
		d.basic(n, path, v)
	}
}

// itemName tells a list element by its name or path where it has one.
func itemName(n *yaml.Node, i int) string {
	if n.Kind == yaml.MappingNode {
		for k := 0; k+1 < len(n.Content); k += 2 {
			switch n.Content[k].Value {
			case "name", "path", "value":
				return n.Content[k+1].Value
			}
		}
	}
	return strconv.Itoa(i)
}

func name(path string) string {
	if path == "" {
		return "the file"
	}
	return strings.TrimPrefix(path, ".")
}

func (d *decoder) mapping(n *yaml.Node, path string, v reflect.Value) {
	fields, required := fieldsOf(v.Type())
	if n.Kind != yaml.MappingNode {
		d.faults.Add(n.Line, "%s: allowed: a mapping with %s", name(path), strings.Join(sortedKeys(fields), ", "))
		return
	}
	keys := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		if first, dup := keys[k.Value]; dup {
			d.faults.Add(k.Line, "%s: key %q given twice, first in line %d", name(path), k.Value, first)
			continue
		}
		keys[k.Value] = k.Line
		f, ok := fields[k.Value]
		if !ok {
			d.faults.Add(k.Line, "%s: unknown key %q; allowed: %s", name(path), k.Value, strings.Join(sortedKeys(fields), ", "))
			continue
		}
		if val.Tag == "!!null" {
			d.faults.Add(k.Line, "%s: key %q has no value; leave it out or give one", name(path), k.Value)
			continue
		}
		d.decode(val, path+"."+k.Value, v.Field(f))
	}
	for _, k := range required {
		if _, ok := keys[k]; !ok {
			d.faults.Add(n.Line, "%s: key %q is missing", name(path), k)
		}
	}
	if p, ok := v.Addr().Interface().(positioned); ok {
		p.setPos(n.Line, keys)
	}
}

func fieldsOf(t reflect.Type) (fields map[string]int, required []string) {
	fields = map[string]int{}
	for i := range t.NumField() {
		key, rest, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if key == "" {
			continue
		}
		fields[key] = i
		if rest == "required" {
			required = append(required, key)
		}
	}
	return fields, required
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (d *decoder) stringMap(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.faults.Add(n.Line, "%s: allowed: a mapping of strings", name(path))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		if s, ok := d.scalar(val, path+"."+k.Value, "a string"); ok {
			if v.MapIndex(reflect.ValueOf(k.Value)).IsValid() {
				d.faults.Add(k.Line, "%s: key %q given twice", name(path), k.Value)
			}
			v.SetMapIndex(reflect.ValueOf(k.Value), reflect.ValueOf(s))
		}
	}
}

func (d *decoder) value(n *yaml.Node, path string) Value {
	val := Value{Line: n.Line}
	if n.Kind == yaml.SequenceNode {
		val.IsList = true
		for i, e := range n.Content {
			if s, ok := d.scalar(e, fmt.Sprintf("%s[%d]", path, i), "a scalar"); ok {
				val.List = append(val.List, s)
			}
		}
		return val
	}
	val.Scalar, _ = d.scalar(n, path, "a scalar or a list of scalars")
	return val
}

func (d *decoder) scalar(n *yaml.Node, path, allowed string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.faults.Add(n.Line, "%s: allowed: %s", name(path), allowed)
		return "", false
	}
	return n.Value, true
}

func (d *decoder) basic(n *yaml.Node, path string, v reflect.Value) {
	allowed := map[reflect.Kind]string{reflect.String: "a string", reflect.Bool: "true or false",
		reflect.Int: "a whole number", reflect.Float64: "a number"}[v.Kind()]
	s, ok := d.scalar(n, path, allowed)
	if !ok {
		return
	}
	var err error
	switch v.Kind() {
	case reflect.String:
		if strings.TrimSpace(s) == "" {
			err = errors.New("empty")
			allowed = "a string that is not empty"
		}
		v.SetString(strings.TrimSpace(s))
	case reflect.Bool:
		v.SetBool(s == "true")
		if s != "true" && s != "false" {
			err = errors.New("bool")
		}
	case reflect.Int:
		var i int
		i, err = strconv.Atoi(s)
		v.SetInt(int64(i))
	case reflect.Float64:
		var f float64
		f, err = strconv.ParseFloat(s, 64)
		v.SetFloat(f)
	default:
		panic("spec: type " + v.Type().String() + " cannot be decoded")
	}
	if err != nil {
		d.faults.Add(n.Line, "%s: %q is not allowed; allowed: %s", name(path), s, allowed)
	}
}
