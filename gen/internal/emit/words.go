package emit

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// short prints a duration without trailing zero units: 5m, not 5m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// text prints a default or bound for people.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case time.Duration:
		return short(v)
	case int:
		return strconv.Itoa(v)
	case []string:
		return strings.Join(v, ", ")
	default:
		return fmt.Sprint(v)
	}
}

// duration prints a duration as Go code: 30 * time.Second.
func duration(d time.Duration) *jen.Statement {
	if d == 0 {
		return jen.Lit(0)
	}
	units := []struct {
		d    time.Duration
		name string
	}{{time.Hour, "Hour"}, {time.Minute, "Minute"}, {time.Second, "Second"}, {time.Millisecond, "Millisecond"}, {time.Microsecond, "Microsecond"}, {time.Nanosecond, "Nanosecond"}}
	for _, u := range units {
		if d%u.d == 0 {
			if d == u.d {
				return jen.Qual("time", u.name)
			}
			return jen.Lit(int(d/u.d)).Op("*").Qual("time", u.name)
		}
	}
	panic("unreachable: every duration is a multiple of a nanosecond")
}

// literal prints a default or bound as Go code.
func literal(o model.Option, v any) *jen.Statement {
	switch v := v.(type) {
	case time.Duration:
		return duration(v)
	case []string:
		return jen.Index().String().ValuesFunc(func(g *jen.Group) {
			for _, s := range v {
				g.Lit(s)
			}
		})
	case string:
		if o.Kind == model.Enum {
			return jen.Id(enumConst(o, v))
		}
		return jen.Lit(v)
	default:
		return jen.Lit(v)
	}
}

func enumConst(o model.Option, value string) string {
	for _, e := range o.Values {
		if e.Value == value {
			return e.Const
		}
	}
	panic("model: unknown value " + value)
}

// minimum is the lower bound of a number: 0 unless the spec says otherwise.
func minimum(o model.Option) any {
	if o.Min != nil {
		return o.Min
	}
	if o.Kind == model.Duration {
		return time.Duration(0)
	}
	return 0
}

// allowed says what an option accepts, for errors and tables.
func allowed(o model.Option) string {
	switch o.Kind {
	case model.Int, model.Duration:
		if o.Max != nil {
			return fmt.Sprintf("must be from %s to %s", text(minimum(o)), text(o.Max))
		}
		return "must be at least " + text(minimum(o))
	case model.Enum:
		var all []string
		for _, e := range o.Values {
			all = append(all, e.Value)
		}
		return "must be one of " + strings.Join(all, ", ")
	case model.URL:
		if o.Pattern == nil {
			return "must be a URL that starts with http:// or https://"
		}
	}
	if o.Pattern != nil {
		return "must be " + o.Allowed
	}
	return "must not be empty"
}

// syntax says how the text of an option looks in a URL or variable.
func syntax(o model.Option) string {
	switch o.Kind {
	case model.Bool:
		return "must be true or false"
	case model.Int:
		return "must be a whole number"
	case model.Duration:
		return "must be a duration such as 30s"
	default:
		return allowed(o)
	}
}

// notes are the lines below the sentence of an option's documentation.
func notes(o model.Option) string {
	var parts []string
	switch {
	case o.Required:
		parts = append(parts, "Required.")
	case o.DefaultDoc != "":
		parts = append(parts, "Default: "+strings.TrimSuffix(o.DefaultDoc, ".")+".")
	case o.Default != nil:
		parts = append(parts, "Default: "+text(o.Default)+".")
	case o.Kind == model.Bool:
		parts = append(parts, "Default: false.")
	case o.Kind == model.Int, o.Kind == model.Duration:
		parts = append(parts, "Default: 0.")
	default:
		parts = append(parts, "Default: none.")
	}
	if o.Kind == model.Int || o.Kind == model.Duration || o.Kind == model.Enum || o.Pattern != nil {
		parts = append(parts, "It "+allowed(o)+".")
	}
	if o.URLKey != "" {
		parts = append(parts, "URL: multilock."+o.URLKey+".")
	}
	if o.EnvName != "" {
		parts = append(parts, "Environment: "+o.EnvName+".")
	}
	if o.Kind == model.Secret {
		parts = append(parts, "It is never printed.")
	}
	return strings.Join(parts, " ")
}

// isZero is the condition under which an option is at its zero value.
func isZero(o model.Option, field *jen.Statement) *jen.Statement {
	switch o.Kind {
	case model.List:
		return jen.Len(field).Op("==").Lit(0)
	case model.Bool:
		return jen.Op("!").Add(field)
	case model.Int, model.Duration:
		return field.Op("==").Lit(0)
	case model.Go:
		return field.Op("==").Nil()
	default:
		return field.Op("==").Lit("")
	}
}

func isSet(o model.Option, field *jen.Statement) *jen.Statement {
	switch o.Kind {
	case model.List:
		return jen.Len(field).Op("!=").Lit(0)
	case model.Bool:
		return field
	case model.Int, model.Duration:
		return field.Op("!=").Lit(0)
	case model.Go:
		return field.Op("!=").Nil()
	default:
		return field.Op("!=").Lit("")
	}
}

// zero is the zero value of an option.
func zero(o model.Option) *jen.Statement {
	switch o.Kind {
	case model.List, model.Go:
		return jen.Nil()
	case model.Bool:
		return jen.False()
	case model.Int, model.Duration:
		return jen.Lit(0)
	default:
		return jen.Lit("")
	}
}
