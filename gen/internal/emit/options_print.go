package emit

import (
	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// optionsPrint makes String, GoString and LogValue.
func optionsPrint(f *jen.File, b model.Backend) {
	comment(f, "attrs are the fields that are set, without secrets.")
	f.Func().Params(jen.Id("o").Id("Options")).Id("attrs").Params().Index().Qual("log/slog", "Attr").BlockFunc(func(g *jen.Group) {
		g.Var().Id("attrs").Index().Qual("log/slog", "Attr")
		for _, o := range b.Options {
			attr := func(fn string, v jen.Code) jen.Code {
				return jen.Id("attrs").Op("=").Append(jen.Id("attrs"), jen.Qual("log/slog", fn).Call(jen.Lit(o.Name), v))
			}
			var set jen.Code
			switch o.Kind {
			case model.Secret:
				set = attr("String", jen.Lit(redacted))
			case model.Go:
				set = attr("String", jen.Lit("[set]"))
			case model.URL:
				set = attr("String", jen.Id("withoutCredentials").Call(field(o)))
			case model.Bool:
				set = attr("Bool", field(o))
			case model.Int:
				set = attr("Int", field(o))
			case model.Duration:
				set = attr("Duration", field(o))
			case model.Enum:
				set = attr("String", jen.String().Call(field(o)))
			case model.List:
				set = attr("String", jen.Id("show").Call(jen.Qual("strings", "Join").Call(field(o), jen.Lit(","))))
			default:
				set = attr("String", jen.Id("show").Call(field(o)))
			}
			g.If(isSet(o, field(o))).Block(set)
		}
		g.Return(jen.Id("attrs"))
	})

	comment(f, "LogValue groups the fields that are set, secrets redacted.")
	f.Func().Params(jen.Id("o").Id("Options")).Id("LogValue").Params().Qual("log/slog", "Value").Block(
		jen.Return(jen.Qual("log/slog", "GroupValue").Call(jen.Id("o").Dot("attrs").Call().Op("..."))))

	comment(f, "String names the fields that are set, secrets redacted.")
	f.Func().Params(jen.Id("o").Id("Options")).Id("String").Params().String().Block(
		jen.Var().Id("parts").Index().String(),
		jen.For(jen.List(jen.Id("_"), jen.Id("a")).Op(":=").Range().Id("o").Dot("attrs").Call()).Block(
			jen.Id("parts").Op("=").Append(jen.Id("parts"), jen.Id("a").Dot("Key").Op("+").Lit(": ").Op("+").Id("a").Dot("Value").Dot("String").Call())),
		jen.Return(jen.Lit(b.Name+".Options{").Op("+").Qual("strings", "Join").Call(jen.Id("parts"), jen.Lit(", ")).Op("+").Lit("}")),
	)

	comment(f, "GoString is String, so that %#v prints no secret either.")
	f.Func().Params(jen.Id("o").Id("Options")).Id("GoString").Params().String().Block(jen.Return(jen.Id("o").Dot("String").Call()))

	if hasKind(b, model.String) || hasKind(b, model.List) {
		comment(f, "show hides what may be a password before an @.")
		f.Func().Id("show").Params(jen.Id("text").String()).String().Block(
			jen.If(jen.Qual("strings", "Contains").Call(jen.Id("text"), jen.Lit("@"))).Block(jen.Return(jen.Lit(redacted))),
			jen.Return(jen.Id("text")),
		)
	}
	if hasKind(b, model.URL) {
		urlHelpers(f)
	}
}

func urlHelpers(f *jen.File) {
	comment(f, "withoutCredentials drops user and parameters of a URL, which may hold secrets.")
	f.Func().Id("withoutCredentials").Params(jen.Id("raw").String()).String().Block(
		jen.List(jen.Id("u"), jen.Err()).Op(":=").Qual("net/url", "Parse").Call(jen.Id("raw")),
		jen.If(jen.Err().Op("!=").Nil().Op("||").Id("u").Dot("Opaque").Op("!=").Lit("")).Block(jen.Return(jen.Lit("[unreadable]"))),
		jen.Return(jen.Parens(jen.Op("&").Qual("net/url", "URL").Values(jen.Dict{
			jen.Id("Scheme"): jen.Id("u").Dot("Scheme"), jen.Id("Host"): jen.Id("u").Dot("Host"), jen.Id("Path"): jen.Id("u").Dot("Path"),
		})).Dot("String").Call()),
	)
	comment(f, "isHTTP reports whether raw is a URL of a web server.")
	f.Func().Id("isHTTP").Params(jen.Id("raw").String()).Bool().Block(
		jen.List(jen.Id("u"), jen.Err()).Op(":=").Qual("net/url", "Parse").Call(jen.Id("raw")),
		jen.Return(jen.Err().Op("==").Nil().Op("&&").Parens(jen.Id("u").Dot("Scheme").Op("==").Lit("http").Op("||").Id("u").Dot("Scheme").Op("==").Lit("https")).Op("&&").Id("u").Dot("Host").Op("!=").Lit("")),
	)
}
