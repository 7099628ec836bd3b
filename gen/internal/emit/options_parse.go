package emit

import (
	"strings"

	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// optionsParse makes ParseURL and OptionsFromEnv and the table both use.
func optionsParse(f *jen.File, b model.Backend) {
	parameterTable(f, b)
	setParameter(f)
	parseURL(f, b)
	parseQuery(f, b)
	fromEnv(f, b)
	if hasKind(b, model.List) {
		comment(f, "splitList splits text at commas and drops the blanks around them.")
		f.Func().Id("splitList").Params(jen.Id("text").String()).Index().String().Block(
			jen.Id("list").Op(":=").Qual("strings", "Split").Call(jen.Id("text"), jen.Lit(",")),
			jen.For(jen.Id("i").Op(":=").Range().Id("list")).Block(
				jen.Id("list").Index(jen.Id("i")).Op("=").Qual("strings", "TrimSpace").Call(jen.Id("list").Index(jen.Id("i"))),
			),
			jen.Return(jen.Id("list")),
		)
	}
}

func hasKind(b model.Backend, k model.Kind) bool {
	for _, o := range b.Options {
		if o.Kind == k {
			return true
		}
	}
	return false
}

func parameterTable(f *jen.File, b model.Backend) {
	comment(f, "parameter is an option as a URL or the environment gives it.")
	f.Type().Id("parameter").Struct(
		jen.Id("url").String().Comment("without the prefix; empty if URLs may not give it"),
		jen.Id("env").String(),
		jen.Id("secret").Bool(),
		jen.Id("set").Func().Params(jen.Id("o").Op("*").Id("Options"), jen.Id("text").String()).Params(jen.Id("allowed").String()).
			Comment("says what is allowed if text is not"),
	)
	f.Var().Id("parameters").Op("=").Index().Id("parameter").ValuesFunc(func(g *jen.Group) {
		for _, o := range b.Options {
			if o.URLKey == "" && o.EnvName == "" {
				continue
			}
			fn := jen.Func().Params(jen.Id("o").Op("*").Id("Options"), jen.Id("text").String()).String().BlockFunc(func(g *jen.Group) { setter(g, o) })
			g.Line().Values(jen.Lit(o.URLKey), jen.Lit(o.EnvName), jen.Lit(o.Secrecy()), fn)
		}
		g.Line()
	})
}

// setter makes the body that stores the text of one option. A zero given in
// words is refused where it would silently turn into the default.
func setter(g *jen.Group, o model.Option) {
	parse := func(pkg, fn string, args ...jen.Code) {
		g.List(jen.Id("v"), jen.Err()).Op(":=").Qual(pkg, fn).Call(append([]jen.Code{jen.Id("text")}, args...)...)
		g.If(jen.Err().Op("!=").Nil()).Block(jen.Return(jen.Lit(syntax(o))))
		if o.Default != nil {
			g.If(jen.Id("v").Op("==").Lit(0)).Block(jen.Return(jen.Lit("must not be 0; leave it out for the default, " + text(o.Default))))
		}
		g.Id("o").Dot(o.Name).Op("=").Id("v")
	}
	switch o.Kind {
	case model.Bool:
		parse("strconv", "ParseBool")
	case model.Int:
		parse("strconv", "Atoi")
	case model.Duration:
		parse("time", "ParseDuration")
	case model.List:
		g.Id("o").Dot(o.Name).Op("=").Id("splitList").Call(jen.Id("text"))
	default:
		if o.Default != nil {
			g.If(jen.Id("text").Op("==").Lit("")).Block(jen.Return(jen.Lit("must not be empty; leave it out for the default, " + text(o.Default))))
		}
		if o.Kind == model.Enum {
			g.Id("o").Dot(o.Name).Op("=").Id(o.Name).Call(jen.Id("text"))
		} else {
			g.Id("o").Dot(o.Name).Op("=").Id("text")
		}
	}
	g.Return(jen.Lit(""))
}

func setParameter(f *jen.File) {
	comment(f, "apply sets the option of p; source is the parameter or variable, for the error.")
	f.Func().Params(jen.Id("p").Id("parameter")).Id("apply").Params(jen.Id("o").Op("*").Id("Options"), jen.List(jen.Id("source"), jen.Id("text")).String()).Error().Block(
		jen.Id("allowed").Op(":=").Id("p").Dot("set").Call(jen.Id("o"), jen.Id("text")),
		jen.If(jen.Id("allowed").Op("==").Lit("")).Block(jen.Return(jen.Nil())),
		jen.Id("value").Op(":=").Lit(""),
		jen.If(jen.Op("!").Id("p").Dot("secret")).Block(jen.Id("value").Op("=").Qual("strconv", "Quote").Call(jen.Id("text"))),
		jen.Return(invalid(jen.Id("source"), jen.Id("value"), jen.Id("allowed"))),
	)
}

func parseURL(f *jen.File, b model.Backend) {
	others := "Other parameters are refused."
	if b.OthersToSDK {
		others = "Other parameters are those of the SDK."
	}
	comment(f, "ParseURL reads options from a URL such as "+b.Example+". Parameters that start with \"multilock.\" set the option of that name; an unknown one is refused. "+others+" All faults are reported, joined; none quotes a password.")
	f.Func().Id("ParseURL").Params(jen.Id("raw").String()).Params(jen.Id("Options"), jen.Error()).Block(
		jen.List(jen.Id("o"), jen.Id("faults")).Op(":=").Id("parseURL").Call(jen.Id("raw")),
		jen.If(jen.Id("faults").Op("==").Nil()).Block(jen.Id("faults").Op("=").Append(jen.Id("faults"), jen.Id("o").Dot("Validate").Call())),
		jen.Return(jen.Id("o"), jen.Qual("errors", "Join").Call(jen.Id("faults").Op("..."))),
	)
	f.Line()
	f.Func().Id("parseURL").Params(jen.Id("raw").String()).Params(jen.Id("Options"), jen.Index().Error()).BlockFunc(func(g *jen.Group) {
		g.Var().Id("o").Id("Options")
		g.List(jen.Id("u"), jen.Err()).Op(":=").Qual("net/url", "Parse").Call(jen.Id("raw"))
		g.If(jen.Err().Op("!=").Nil()).Block(
			jen.Comment("The error of url.Parse may quote a part of a password."),
			jen.Return(jen.Id("o"), jen.Index().Error().Values(invalid(jen.Lit(b.Name+" URL"), jen.Lit(""), jen.Lit("must be a URL such as "+b.Example)))),
		)
		g.Switch(jen.Id("u").Dot("Scheme")).Block(
			jen.CaseFunc(func(g *jen.Group) {
				for _, s := range b.Schemes {
					g.Lit(s)
				}
			}),
			jen.Default().Block(jen.Return(jen.Id("o"), jen.Index().Error().Values(invalid(jen.Lit(b.Name+" URL scheme"),
				jen.Id("quote").Call(jen.Id("u").Dot("Scheme")), jen.Lit("must be "+strings.Join(b.Schemes, " or ")))))),
		)
		g.List(jen.Id("own"), jen.Id("faults")).Op(":=").Id("takeParameters").Call(jen.Id("u"))
		g.If(jen.Id("u").Dot("Fragment").Op("!=").Lit("")).Block(
			jen.Comment("Most likely a password with a # in it, which cuts the URL short."),
			addFault(invalid(jen.Lit(b.Name+" URL"), jen.Lit(""), jen.Lit("must have no fragment; write # as %23"))))
		if b.FromURL && b.Ready {
			g.If(jen.Err().Op(":=").Id("o").Dot("fromURL").Call(jen.Id("u")), jen.Err().Op("!=").Nil()).Block(
				jen.Id("faults").Op("=").Append(jen.Id("faults"), jen.Err()))
		} else if b.Ready {
			g.If(jen.Id("u").Dot("Host").Op("!=").Lit("").Op("||").Id("u").Dot("Path").Op("!=").Lit("").Op("||").Id("u").Dot("Opaque").Op("!=").Lit("").Op("||").Id("u").Dot("User").Op("!=").Nil()).Block(
				jen.Id("faults").Op("=").Append(jen.Id("faults"), invalid(jen.Lit(b.Name+" URL"), jen.Lit(""), jen.Lit("must have neither host nor path"))))
		}
		g.For(jen.List(jen.Id("_"), jen.Id("set")).Op(":=").Range().Id("own")).Block(
			jen.If(jen.Err().Op(":=").Id("set").Call(jen.Op("&").Id("o")), jen.Err().Op("!=").Nil()).Block(
				jen.Id("faults").Op("=").Append(jen.Id("faults"), jen.Err())),
		)
		g.Return(jen.Id("o"), jen.Id("faults"))
	})
}

// parseQuery makes takeParameters. It keeps the text of other parameters as it
// is, since their order and escaping are the SDK's affair.
func parseQuery(f *jen.File, b model.Backend) {
	const prefix = "multilock."
	comment(f, "takeParameters removes our own parameters from u and returns what sets them.")
	f.Func().Id("takeParameters").Params(jen.Id("u").Op("*").Qual("net/url", "URL")).Params(jen.Id("own").Index().Func().Params(jen.Op("*").Id("Options")).Error(), jen.Id("faults").Index().Error()).BlockFunc(func(g *jen.Group) {
		g.Id("known").Op(":=").Make(jen.Map(jen.String()).Id("parameter"))
		g.For(jen.List(jen.Id("_"), jen.Id("p")).Op(":=").Range().Id("parameters")).Block(
			jen.If(jen.Id("p").Dot("url").Op("!=").Lit("")).Block(jen.Id("known").Index(jen.Lit(prefix).Op("+").Id("p").Dot("url")).Op("=").Id("p")),
		)
		g.Id("seen").Op(":=").Make(jen.Map(jen.String()).Bool())
		g.Var().Id("others").Index().String()
		g.For(jen.List(jen.Id("_"), jen.Id("pair")).Op(":=").Range().Qual("strings", "Split").Call(jen.Id("u").Dot("RawQuery"), jen.Lit("&"))).BlockFunc(func(g *jen.Group) {
			g.List(jen.Id("rawKey"), jen.Id("rawText"), jen.Id("_")).Op(":=").Qual("strings", "Cut").Call(jen.Id("pair"), jen.Lit("="))
			g.List(jen.Id("key"), jen.Err()).Op(":=").Qual("net/url", "QueryUnescape").Call(jen.Id("rawKey"))
			g.If(jen.Err().Op("!=").Nil().Op("||").Op("!").Qual("strings", "HasPrefix").Call(jen.Qual("strings", "ToLower").Call(jen.Id("key")), jen.Lit(prefix))).BlockFunc(func(g *jen.Group) {
				g.Id("others").Op("=").Append(jen.Id("others"), jen.Id("pair"))
				if !b.OthersToSDK {
					g.If(jen.Id("pair").Op("!=").Lit("")).Block(jen.Id("faults").Op("=").Append(jen.Id("faults"),
						invalid(jen.Lit(b.Name+" URL parameter"), jen.Id("quote").Call(jen.Id("rawKey")), jen.Lit("must start with "+prefix))))
				}
				g.Continue()
			})
			g.List(jen.Id("text"), jen.Err()).Op(":=").Qual("net/url", "QueryUnescape").Call(jen.Id("rawText"))
			g.List(jen.Id("p"), jen.Id("ok")).Op(":=").Id("known").Index(jen.Id("key"))
			add := func(field, value, allowed jen.Code) jen.Code {
				return jen.Id("faults").Op("=").Append(jen.Id("faults"), invalid(field, value, allowed))
			}
			g.Switch().Block(
				jen.Case(jen.Op("!").Id("ok")).Block(add(jen.Lit(b.Name+" URL parameter"), jen.Id("quote").Call(jen.Id("key")), jen.Lit("must be one of "+strings.Join(urlKeys(b), ", ")))),
				jen.Case(jen.Err().Op("!=").Nil()).Block(add(jen.Id("key"), jen.Lit(""), jen.Lit("must be escaped as a URL demands"))),
				jen.Case(jen.Id("seen").Index(jen.Id("key"))).Block(add(jen.Id("key"), jen.Lit(""), jen.Lit("must be given once"))),
				jen.Default().Block(jen.Id("own").Op("=").Append(jen.Id("own"), jen.Func().Params(jen.Id("o").Op("*").Id("Options")).Error().Block(
					jen.Return(jen.Id("p").Dot("apply").Call(jen.Id("o"), jen.Id("key"), jen.Id("text")))))),
			)
			g.Id("seen").Index(jen.Id("key")).Op("=").True()
		})
		g.Id("u").Dot("RawQuery").Op("=").Qual("strings", "Join").Call(jen.Id("others"), jen.Lit("&"))
		g.Return(jen.Id("own"), jen.Id("faults"))
	})
}

func urlKeys(b model.Backend) []string {
	var keys []string
	for _, o := range b.Options {
		if o.URLKey != "" {
			keys = append(keys, "multilock."+o.URLKey)
		}
	}
	return keys
}

func fromEnv(f *jen.File, b model.Backend) {
	env := "MULTILOCK_" + strings.ToUpper(b.Name)
	comment(f, "OptionsFromEnv reads options from the environment: first the URL in "+env+"_URL, then the variable of each option, which wins over the URL. A variable that is empty counts as not set. All faults are reported, joined.")
	f.Func().Id("OptionsFromEnv").Params().Params(jen.Id("Options"), jen.Error()).Block(
		jen.Var().Id("o").Id("Options"),
		jen.Var().Id("faults").Index().Error(),
		jen.If(jen.Id("raw").Op(":=").Qual("os", "Getenv").Call(jen.Lit(env+"_URL")), jen.Id("raw").Op("!=").Lit("")).Block(
			jen.List(jen.Id("o"), jen.Id("faults")).Op("=").Id("parseURL").Call(jen.Id("raw")),
		),
		jen.For(jen.List(jen.Id("_"), jen.Id("p")).Op(":=").Range().Id("parameters")).Block(
			jen.If(jen.Id("p").Dot("env").Op("==").Lit("")).Block(jen.Continue()),
			jen.If(jen.Id("text").Op(":=").Qual("os", "Getenv").Call(jen.Id("p").Dot("env")), jen.Id("text").Op("!=").Lit("")).Block(
				jen.If(jen.Err().Op(":=").Id("p").Dot("apply").Call(jen.Op("&").Id("o"), jen.Id("p").Dot("env"), jen.Id("text")), jen.Err().Op("!=").Nil()).Block(
					jen.Id("faults").Op("=").Append(jen.Id("faults"), jen.Err()))),
		),
		jen.If(jen.Id("faults").Op("==").Nil()).Block(jen.Id("faults").Op("=").Append(jen.Id("faults"), jen.Id("o").Dot("Validate").Call())),
		jen.Return(jen.Id("o"), jen.Qual("errors", "Join").Call(jen.Id("faults").Op("..."))),
	)
}
