package emit

import (
	"strings"
	"time"

	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// secretText stands for a secret in generated tests.
const secretText = "S3cr3t"

// sample is a valid value of an option as a URL or variable gives it, and the
// same value as Go code. ok is false if none is found.
func sample(o model.Option) (string, *jen.Statement, bool) {
	switch o.Kind {
	case model.Bool:
		return "true", jen.True(), true
	case model.Int:
		n := 1
		if v, ok := inBounds(o).(int); ok {
			n = v
		}
		return text(n), jen.Lit(n), true
	case model.Duration:
		d, _ := inBounds(o).(time.Duration)
		return d.String(), duration(d), true
	case model.Enum:
		last := o.Values[len(o.Values)-1]
		return last.Value, jen.Id(last.Const), true
	case model.List:
		s, ok := sampleString(o)
		return s + ", " + s, jen.Index().String().Values(jen.Lit(s), jen.Lit(s)), ok
	case model.Go:
		return "", nil, false
	default:
		s, ok := sampleString(o)
		return s, jen.Lit(s), ok
	}
}

// inBounds is a number that is neither zero nor the default, if there is one.
func inBounds(o model.Option) any {
	if o.Kind == model.Int {
		for _, n := range []int{7, 3, 1, 2, 12} {
			if n != o.Default && within(o, n) {
				return n
			}
		}
		return minimum(o)
	}
	for _, d := range []time.Duration{7 * time.Second, time.Second, time.Minute, time.Millisecond, time.Hour} {
		if d != o.Default && within(o, d) {
			return d
		}
	}
	return minimum(o)
}

func within(o model.Option, v any) bool {
	switch v := v.(type) {
	case int:
		lo, _ := minimum(o).(int)
		hi, bounded := o.Max.(int)
		return v >= lo && (!bounded || v <= hi)
	case time.Duration:
		lo, _ := minimum(o).(time.Duration)
		hi, bounded := o.Max.(time.Duration)
		return v >= lo && (!bounded || v <= hi)
	}
	return false
}

func sampleString(o model.Option) (string, bool) {
	candidates := []string{"sample", "/sample", ".sample", "sample:1", "https://sample.example"}
	if o.Kind == model.URL {
		candidates = []string{"https://sample.example"}
	}
	if s, ok := o.Default.(string); ok {
		candidates = append(candidates, s)
	}
	for _, c := range candidates {
		if o.Pattern == nil || o.Pattern.MatchString(c) {
			return c, true
		}
	}
	return "", false
}

// badStrings are texts that a pattern refuses.
func badStrings(o model.Option) []string {
	var out []string
	for _, c := range []string{"\x00", " ", "a\n", strings.Repeat("x", 5000)} {
		if !o.Pattern.MatchString(c) {
			out = append(out, c)
		}
	}
	return out
}
