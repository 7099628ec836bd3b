package emit

import (
	"strings"

	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// OptionsTests makes backends/<b>/options_gen_test.go.
func OptionsTests(m *model.Model) ([]File, error) {
	var out []File
	for _, b := range m.Backends {
		f := goFile(m, b)
		hasFault(f, namesOf(m))
		defaultsTest(f, b)
		faultsTest(f, b)
		if b.Client {
			clientTest(f, b)
		}
		parameterSamples(f, b)
		urlTest(f, b)
		urlFaultsTest(f, b)
		fuzzTest(f, b)
		envTest(f, b)
		secretsTest(f, b)
		file, err := render(b.Dir+"/options_gen_test.go", f)
		if err != nil {
			return nil, err
		}
		out = append(out, file)
	}
	return out, nil
}

func testFunc(f *jen.File, name string, body func(g *jen.Group)) {
	f.Line()
	f.Func().Id(name).Params(jen.Id("t").Op("*").Qual("testing", "T")).BlockFunc(body)
}

func hasFault(f *jen.File, n names) {
	comment(f, "hasFault reports whether err holds a fault of the field.")
	f.Func().Id("hasFault").Params(jen.Err().Error(), jen.Id("field").String()).Bool().Block(
		jen.If(jen.List(jen.Id("joined"), jen.Id("ok")).Op(":=").Err().Assert(jen.Interface(jen.Id("Unwrap").Params().Index().Error())), jen.Id("ok")).Block(
			jen.Return(jen.Qual("slices", "ContainsFunc").Call(jen.Id("joined").Dot("Unwrap").Call(),
				jen.Func().Params(jen.Id("e").Error()).Bool().Block(jen.Return(jen.Id("hasFault").Call(jen.Id("e"), jen.Id("field"))))))),
		jen.Var().Id("fault").Op("*").Add(n.multilock("InvalidError")),
		jen.Return(jen.Qual("errors", "As").Call(jen.Err(), jen.Op("&").Id("fault")).Op("&&").Id("fault").Dot("Field").Op("==").Id("field")),
	)
}

func defaultsTest(f *jen.File, b model.Backend) {
	testFunc(f, "TestOptionsDefaults", func(g *jen.Group) {
		d := jen.Dict{}
		for _, o := range b.Options {
			if o.Default != nil {
				d[jen.Id(o.Name)] = literal(o, o.Default)
			}
		}
		g.Id("want").Op(":=").Id("Options").Values(d)
		g.If(jen.Id("got").Op(":=").Parens(jen.Id("Options").Values()).Dot("withDefaults").Call(), jen.Op("!").Qual("reflect", "DeepEqual").Call(jen.Id("got"), jen.Id("want"))).Block(
			jen.Id("t").Dot("Errorf").Call(jen.Lit("got %v, want %v"), jen.Id("got"), jen.Id("want")))
	})
}

// boundCase is one value of one field and whether it is allowed.
type boundCase struct {
	name  string
	field model.Option
	value jen.Code
	ok    bool
}

func boundCases(b model.Backend) []boundCase {
	var out []boundCase
	for _, o := range b.Options {
		add := func(what string, value jen.Code, ok bool) {
			out = append(out, boundCase{o.Name + " " + what, o, value, ok})
		}
		if o.Required {
			add("empty", zero(o), false)
		}
		switch o.Kind {
		case model.Int, model.Duration:
			add("at the minimum", literal(o, minimum(o)), true)
			add("below the minimum", literal(o, minimum(o)).Op("-").Lit(1), false)
			if o.Max != nil {
				add("at the maximum", literal(o, o.Max), true)
				add("above the maximum", literal(o, o.Max).Op("+").Lit(1), false)
			}
		case model.Enum:
			for _, e := range o.Values {
				add(e.Value, jen.Id(e.Const), true)
			}
			add("unknown", jen.Lit("no-such-value"), false)
		case model.List:
			if _, v, ok := sample(o); ok {
				add("sample", v, true)
			}
			add("with an empty element", jen.Index().String().Values(jen.Lit("")), false)
		case model.URL:
			add("of another scheme", jen.Lit("ftp://sample.example"), false)
		}
		if o.Pattern != nil {
			for i, s := range badStrings(o) {
				var v jen.Code = jen.Lit(s)
				if len(s) > 100 {
					v = jen.Qual("strings", "Repeat").Call(jen.Lit(s[:1]), jen.Lit(len(s)))
				}
				if o.Kind == model.List {
					v = jen.Index().String().Values(v)
				}
				add("malformed "+text(i), v, false)
			}
		}
		if o.Kind == model.String || o.Kind == model.URL {
			if _, v, ok := sample(o); ok {
				add("sample", v, true)
			}
		}
	}
	return out
}

func faultsTest(f *jen.File, b model.Backend) {
	cases := boundCases(b)
	if len(cases) == 0 {
		return
	}
	testFunc(f, "TestOptionsFaults", func(g *jen.Group) {
		g.For(jen.List(jen.Id("_"), jen.Id("c")).Op(":=").Range().Index().Struct(
			jen.List(jen.Id("name"), jen.Id("field")).String(),
			jen.Id("options").Id("Options"),
			jen.Id("ok").Bool(),
		).ValuesFunc(func(g *jen.Group) {
			for _, c := range cases {
				g.Line().Values(jen.Lit(c.name), jen.Lit(b.Name+".Options."+c.field.Name), jen.Id("Options").Values(jen.Dict{jen.Id(c.field.Name): c.value}), jen.Lit(c.ok))
			}
			g.Line()
		})).Block(
			jen.Id("t").Dot("Run").Call(jen.Id("c").Dot("name"), jen.Func().Params(jen.Id("t").Op("*").Qual("testing", "T")).Block(
				jen.Comment("What is allowed is asked of the field alone, without the rules between fields."),
				jen.Err().Op(":=").Qual("errors", "Join").Call(fieldFaults(b).Op("...")),
				jen.If(jen.Op("!").Id("c").Dot("ok")).Block(jen.Err().Op("=").Id("c").Dot("options").Dot("Validate").Call()),
				jen.If(jen.Id("hasFault").Call(jen.Err(), jen.Id("c").Dot("field")).Op("==").Id("c").Dot("ok")).Block(
					jen.Id("t").Dot("Errorf").Call(jen.Lit("allowed is %t, but the error is: %v"), jen.Id("c").Dot("ok"), jen.Err())),
			)),
		)
	})
}

// fieldFaults are the faults of single fields of c.options.
func fieldFaults(b model.Backend) *jen.Statement {
	of := func(method string) jen.Code {
		return jen.Id("c").Dot("options").Dot("withDefaults").Call().Dot(method).Call()
	}
	if b.Client {
		return jen.Qual("slices", "Concat").Call(of("check"), of("checkConnection"))
	}
	return jen.Add(of("check"))
}

func clientTest(f *jen.File, b model.Backend) {
	testFunc(f, "TestOptionsForClient", func(g *jen.Group) {
		in, d := jen.Dict{}, jen.Dict{}
		for _, o := range b.Options {
			if o.Connection {
				continue
			}
			if o.Default != nil {
				d[jen.Id(o.Name)] = literal(o, o.Default)
			}
			if _, v, ok := sample(o); o.Required && ok {
				in[jen.Id(o.Name)], d[jen.Id(o.Name)] = v, v
			}
		}
		g.List(jen.Id("got"), jen.Err()).Op(":=").Id("Options").Values(in).Dot("forClient").Call()
		g.If(jen.Id("want").Op(":=").Parens(jen.Id("Options").Values(d)), jen.Err().Op("!=").Nil().Op("||").Op("!").Qual("reflect", "DeepEqual").Call(jen.Id("got"), jen.Id("want"))).Block(
			jen.Id("t").Dot("Errorf").Call(jen.Lit("got %v, %v, want %v"), jen.Id("got"), jen.Err(), jen.Id("want")))
		for _, o := range b.Options {
			v, ok := jen.Code(nil), false
			if o.Kind == model.Go && o.GoPointer && o.GoPackage != "" {
				v, ok = jen.New(jen.Qual(o.GoPackage, o.GoName)), true
			} else {
				_, v, ok = sample(o)
			}
			if !o.Connection || !ok {
				continue
			}
			g.If(jen.List(jen.Id("_"), jen.Err()).Op(":=").Parens(jen.Id("Options").Values(jen.Dict{jen.Id(o.Name): v})).Dot("forClient").Call(),
				jen.Op("!").Id("hasFault").Call(jen.Err(), jen.Lit(b.Name+".Options."+o.Name))).Block(
				jen.Id("t").Dot("Errorf").Call(jen.Lit(o.Name+" beside a client: %v"), jen.Err()))
		}
	})
}

// withQuery appends a parameter to a URL.
func withQuery(url, query string) string {
	if strings.Contains(url, "?") {
		return url + "&" + query
	}
	return url + "?" + query
}
