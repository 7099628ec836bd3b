package emit

import (
	"net/url"
	"strings"

	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

func errorIf(init, cond jen.Code, format string, args ...jen.Code) jen.Code {
	s := jen.If(cond)
	if init != nil {
		s = jen.If(init, cond)
	}
	return s.Block(jen.Id("t").Dot("Errorf").Call(append([]jen.Code{jen.Lit(format)}, args...)...))
}

// parameterSamples makes the table that the tests of URLs and variables share.
func parameterSamples(f *jen.File, b model.Backend) {
	comment(f, "parameterSamples has a valid text of each parameter and what it sets.")
	f.Var().Id("parameterSamples").Op("=").Index().Struct(
		jen.List(jen.Id("url"), jen.Id("env"), jen.Id("text")).String(),
		jen.Id("get").Func().Params(jen.Id("Options")).Any(),
		jen.Id("want").Any(),
		jen.Id("parsed").Bool().Comment("so that x is no valid text"),
	).ValuesFunc(func(g *jen.Group) {
		for _, o := range b.Options {
			s, v, ok := sample(o)
			if !ok || o.URLKey == "" && o.EnvName == "" {
				continue
			}
			key := o.URLKey
			if key != "" {
				key = "multilock." + key
			}
			g.Line().Values(jen.Lit(key), jen.Lit(o.EnvName), jen.Lit(s),
				jen.Func().Params(jen.Id("o").Id("Options")).Any().Block(jen.Return(field(o))), v, jen.Lit(parsed(o)))
		}
		g.Line()
	})
}

func parsed(o model.Option) bool {
	return o.Kind == model.Bool || o.Kind == model.Int || o.Kind == model.Duration
}

func eachSample(body ...jen.Code) jen.Code {
	return jen.For(jen.List(jen.Id("_"), jen.Id("s")).Op(":=").Range().Id("parameterSamples")).Block(body...)
}

// differs is the condition under which o lacks the value of the sample s.
func differs() *jen.Statement {
	return jen.Op("!").Qual("reflect", "DeepEqual").Call(jen.Id("s").Dot("get").Call(jen.Id("o")), jen.Id("s").Dot("want"))
}

func urlTest(f *jen.File, b model.Backend) {
	testFunc(f, "TestOptionsURL", func(g *jen.Group) {
		if b.Ready {
			g.Add(errorIf(jen.List(jen.Id("_"), jen.Err()).Op(":=").Id("ParseURL").Call(jen.Lit(b.Example)), jen.Err().Op("!=").Nil(),
				"the example is refused: %v", jen.Err()))
		}
		g.Add(eachSample(
			jen.If(jen.Id("s").Dot("url").Op("==").Lit("")).Block(jen.Continue()),
			jen.List(jen.Id("o"), jen.Id("faults")).Op(":=").Id("parseURL").Call(jen.Lit(withQuery(b.Example, "")).Op("+").Id("s").Dot("url").Op("+").Lit("=").Op("+").Qual("net/url", "QueryEscape").Call(jen.Id("s").Dot("text"))),
			errorIf(nil, jen.Len(jen.Id("faults")).Op(">").Lit(0).Op("||").Add(differs()), "%s=%s: %v, %v", jen.Id("s").Dot("url"), jen.Id("s").Dot("text"), jen.Id("o"), jen.Id("faults")),
		))
	})
}

func urlFaultsTest(f *jen.File, b model.Backend) {
	type c struct{ raw, field string }
	host := b.Schemes[0] + "://user:" + secretText + "@host"
	cases := []c{
		{host + ":" + secretText, b.Name + " URL"},
		{"no-such-scheme://user:" + secretText + "@host", b.Name + " URL scheme"},
		{b.Example + "#fragment", b.Name + " URL"},
		{withQuery(b.Example, "multilock.no_such_option=1"), b.Name + " URL parameter"},
		{withQuery(b.Example, "MultiLock.no_such_option=1"), b.Name + " URL parameter"},
	}
	if !b.OthersToSDK {
		cases = append(cases, c{withQuery(b.Example, "other=1"), b.Name + " URL parameter"})
	}
	for _, o := range b.Options {
		if o.URLKey == "" {
			continue
		}
		key := "multilock." + o.URLKey
		if s, _, ok := sample(o); ok {
			q := key + "=" + url.QueryEscape(s)
			cases = append(cases, c{withQuery(b.Example, q+"&"+q), key})
		}
		cases = append(cases, c{withQuery(b.Example, key+"=%zz"), key})
		if o.Kind == model.Bool || o.Kind == model.Int || o.Kind == model.Duration {
			cases = append(cases, c{withQuery(b.Example, key+"=x"), key})
		}
		if o.Default != nil && (o.Kind == model.Int || o.Kind == model.Duration) {
			cases = append(cases, c{withQuery(b.Example, key+"=0"), key})
		}
	}
	testFunc(f, "TestOptionsURLFaults", func(g *jen.Group) {
		g.For(jen.List(jen.Id("_"), jen.Id("c")).Op(":=").Range().Index().Struct(jen.List(jen.Id("raw"), jen.Id("field")).String()).ValuesFunc(func(g *jen.Group) {
			for _, e := range cases {
				g.Line().Values(jen.Lit(e.raw), jen.Lit(e.field))
			}
			g.Line()
		})).Block(
			jen.List(jen.Id("_"), jen.Err()).Op(":=").Id("ParseURL").Call(jen.Id("c").Dot("raw")),
			errorIf(nil, jen.Op("!").Id("hasFault").Call(jen.Err(), jen.Id("c").Dot("field")), "%s: no fault of %s: %v", jen.Id("c").Dot("raw"), jen.Id("c").Dot("field"), jen.Err()),
			jen.If(jen.Err().Op("!=").Nil().Op("&&").Qual("strings", "Contains").Call(jen.Err().Dot("Error").Call(), jen.Lit(secretText))).Block(
				jen.Id("t").Dot("Errorf").Call(jen.Lit("%s: the error quotes a password: %v"), jen.Id("c").Dot("raw"), jen.Err())),
		)
	})
}

// fuzzTest feeds ParseURL anything: it must not panic, and what it accepts must
// be valid.
func fuzzTest(f *jen.File, b model.Backend) {
	f.Line()
	f.Func().Id("FuzzParseURL").Params(jen.Id("f").Op("*").Qual("testing", "F")).BlockFunc(func(g *jen.Group) {
		seeds := []string{b.Example, b.Schemes[0] + "://user:" + secretText + "@host:1/path?x=y#z"}
		for _, o := range b.Options {
			if s, _, ok := sample(o); ok && o.URLKey != "" {
				seeds = append(seeds, withQuery(b.Example, "multilock."+o.URLKey+"="+url.QueryEscape(s)))
			}
		}
		for _, s := range seeds {
			g.Id("f").Dot("Add").Call(jen.Lit(s))
		}
		g.Id("f").Dot("Fuzz").Call(jen.Func().Params(jen.Id("t").Op("*").Qual("testing", "T"), jen.Id("raw").String()).Block(
			jen.List(jen.Id("o"), jen.Err()).Op(":=").Id("ParseURL").Call(jen.Id("raw")),
			jen.If(jen.Err().Op("!=").Nil()).Block(jen.Return()),
			errorIf(jen.Err().Op(":=").Id("o").Dot("Validate").Call(), jen.Err().Op("!=").Nil(), "%q is accepted, but invalid: %v", jen.Id("raw"), jen.Err()),
		))
	})
}

func envTest(f *jen.File, b model.Backend) {
	prefix := "MULTILOCK_" + strings.ToUpper(b.Name) + "_"
	testFunc(f, "TestOptionsFromEnv", func(g *jen.Group) {
		comment(g, "The test's own environment must not matter.")
		g.Id("t").Dot("Setenv").Call(jen.Lit(prefix+"URL"), jen.Lit(""))
		g.For(jen.List(jen.Id("_"), jen.Id("p")).Op(":=").Range().Id("parameters")).Block(
			jen.If(jen.Id("p").Dot("env").Op("!=").Lit("")).Block(jen.Id("t").Dot("Setenv").Call(jen.Id("p").Dot("env"), jen.Lit(""))))
		g.Add(eachSample(
			jen.If(jen.Id("s").Dot("env").Op("==").Lit("")).Block(jen.Continue()),
			jen.Id("t").Dot("Setenv").Call(jen.Id("s").Dot("env"), jen.Id("s").Dot("text")),
			errorIf(jen.List(jen.Id("o"), jen.Err()).Op(":=").Id("OptionsFromEnv").Call(), differs(), "%s is not read: %v, %v", jen.Id("s").Dot("env"), jen.Id("o"), jen.Err()),
			jen.If(jen.Id("s").Dot("parsed")).Block(
				jen.Id("t").Dot("Setenv").Call(jen.Id("s").Dot("env"), jen.Lit("x")),
				errorIf(jen.List(jen.Id("_"), jen.Err()).Op(":=").Id("OptionsFromEnv").Call(), jen.Op("!").Id("hasFault").Call(jen.Err(), jen.Id("s").Dot("env")), "no fault of %s: %v", jen.Id("s").Dot("env"), jen.Err()),
			),
			jen.Id("t").Dot("Setenv").Call(jen.Id("s").Dot("env"), jen.Lit("")),
		))
		precedence(g, b, prefix)
	})
}

// precedence checks that a variable wins over the URL.
func precedence(g *jen.Group, b model.Backend, prefix string) {
	for _, o := range b.Options {
		if o.URLKey == "" || o.EnvName == "" || o.Kind != model.Int && o.Kind != model.Duration && o.Kind != model.String || o.Default == nil {
			continue
		}
		s, v, ok := sample(o)
		if !ok || s == text(o.Default) {
			continue
		}
		comment(g, "A variable wins over the URL.")
		raw := withQuery(b.Example, "multilock."+o.URLKey+"="+url.QueryEscape(text(o.Default)))
		g.Id("t").Dot("Setenv").Call(jen.Lit(prefix+"URL"), jen.Lit(raw))
		g.Add(errorIf(jen.List(jen.Id("o"), jen.Err()).Op(":=").Id("OptionsFromEnv").Call(),
			jen.Op("!").Qual("reflect", "DeepEqual").Call(field(o), literal(o, o.Default)), prefix+"URL is not read: %v, %v", jen.Id("o"), jen.Err()))
		g.Id("t").Dot("Setenv").Call(jen.Lit(o.EnvName), jen.Lit(s))
		g.Add(errorIf(jen.List(jen.Id("o"), jen.Err()).Op(":=").Id("OptionsFromEnv").Call(),
			jen.Op("!").Qual("reflect", "DeepEqual").Call(field(o), v), o.EnvName+" does not win over the URL: %v, %v", jen.Id("o"), jen.Err()))
		return
	}
}

func secretsTest(f *jen.File, b model.Backend) {
	d := jen.Dict{}
	for _, o := range b.Options {
		switch o.Kind {
		case model.Secret:
			d[jen.Id(o.Name)] = jen.Lit(secretText)
		case model.String:
			d[jen.Id(o.Name)] = jen.Lit("user:" + secretText + "@host")
		case model.List:
			d[jen.Id(o.Name)] = jen.Index().String().Values(jen.Lit("user:" + secretText + "@host"))
		case model.URL:
			d[jen.Id(o.Name)] = jen.Lit("https://user:" + secretText + "@host/path?sig=" + secretText)
		}
	}
	if len(d) == 0 {
		return
	}
	testFunc(f, "TestOptionsHideSecrets", func(g *jen.Group) {
		g.Id("o").Op(":=").Id("Options").Values(d)
		g.Var().Id("out").Qual("strings", "Builder")
		g.Qual("fmt", "Fprintf").Call(jen.Op("&").Id("out"), jen.Lit("%v %+v %#v %s %v"), jen.Id("o"), jen.Id("o"), jen.Id("o"), jen.Op("&").Id("o"), jen.Id("o").Dot("Validate").Call())
		g.Qual("log/slog", "New").Call(jen.Qual("log/slog", "NewJSONHandler").Call(jen.Op("&").Id("out"), jen.Nil())).Dot("Info").Call(jen.Lit("options"), jen.Lit("options"), jen.Id("o"))
		g.Qual("log/slog", "New").Call(jen.Qual("log/slog", "NewTextHandler").Call(jen.Op("&").Id("out"), jen.Nil())).Dot("Info").Call(jen.Lit("options"), jen.Lit("options"), jen.Id("o"))
		g.Add(errorIf(nil, jen.Qual("strings", "Contains").Call(jen.Id("out").Dot("String").Call(), jen.Lit(secretText)), "a secret is printed: %s", jen.Op("&").Id("out")))
		g.Add(errorIf(nil, jen.Op("!").Qual("strings", "Contains").Call(jen.Id("out").Dot("String").Call(), jen.Lit(redacted)), "nothing is redacted: %s", jen.Op("&").Id("out")))
	})
}
