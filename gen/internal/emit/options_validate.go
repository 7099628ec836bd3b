package emit

import (
	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

const (
	redacted   = "[redacted]"
	quoteLimit = 64
)

// optionsValidate makes Validate, forClient and the checks both use.
func optionsValidate(f *jen.File, m *model.Model, b model.Backend) {
	comment(f, "invalid is one fault.")
	f.Func().Id("invalid").Params(jen.List(jen.Id("field"), jen.Id("value"), jen.Id("allowed")).String()).Error().Block(
		jen.Return(jen.Op("&").Add(namesOf(m).multilock("InvalidError")).Values(jen.Dict{
			jen.Id("Field"): jen.Id("field"), jen.Id("Value"): jen.Id("value"), jen.Id("Allowed"): jen.Id("allowed"),
		})))
	comment(f, "quote shows a value in a fault, cut short and without what may be a password before an @.")
	f.Func().Id("quote").Params(jen.Id("text").String()).String().Block(
		jen.If(jen.Qual("strings", "Contains").Call(jen.Id("text"), jen.Lit("@"))).Block(jen.Return(jen.Lit(redacted))),
		jen.If(jen.Len(jen.Id("text")).Op(">").Lit(quoteLimit)).Block(
			jen.Return(jen.Qual("strconv", "Quote").Call(jen.Id("text").Index(jen.Empty(), jen.Lit(quoteLimit))).Op("+").Lit("..."))),
		jen.Return(jen.Qual("strconv", "Quote").Call(jen.Id("text"))),
	)
	for _, o := range b.Options {
		if o.Pattern != nil {
			f.Var().Id("pattern"+o.Name).Op("=").Qual("regexp", "MustCompile").Call(jen.Lit(o.Pattern.String()))
		}
	}
	recv := jen.Id("o").Id("Options")
	comment(f, "Validate reports every fault of o, joined: field, value unless it is secret, and what is allowed. It does no I/O; errors.Is(err, multilock.ErrInvalid) holds for each.")
	f.Func().Params(recv.Clone()).Id("Validate").Params().Error().BlockFunc(func(g *jen.Group) {
		g.Id("o").Op("=").Id("o").Dot("withDefaults").Call()
		if b.Client {
			g.Id("faults").Op(":=").Qual("slices", "Concat").Call(jen.Id("o").Dot("checkConnection").Call(), jen.Id("o").Dot("check").Call())
		} else {
			g.Id("faults").Op(":=").Id("o").Dot("check").Call()
		}
		hookCall(g, b, false)
		g.Return(jen.Qual("errors", "Join").Call(jen.Id("faults").Op("...")))
	})
	var own, connection []model.Option
	for _, o := range b.Options {
		if b.Client && o.Connection {
			connection = append(connection, o)
		} else {
			own = append(own, o)
		}
	}
	checks(f, b, "check", "check tells the faults of single fields. o has its defaults.", own)
	if !b.Client {
		return
	}
	checks(f, b, "checkConnection", "checkConnection is check for the fields that say how to connect.", connection)
	comment(f, "forClient returns o with its defaults, for constructors that are given a client: the fields that say how to connect must then be empty.")
	f.Func().Params(recv.Clone()).Id("forClient").Params().Params(jen.Id("Options"), jen.Error()).BlockFunc(func(g *jen.Group) {
		g.Var().Id("faults").Index().Error()
		g.For(jen.List(jen.Id("_"), jen.Id("f")).Op(":=").Range().Index().Struct(jen.Id("name").String(), jen.Id("set").Bool()).ValuesFunc(func(g *jen.Group) {
			for _, o := range connection {
				g.Line().Values(jen.Lit(o.Name), isSet(o, field(o)))
			}
			g.Line()
		})).Block(jen.If(jen.Id("f").Dot("set")).Block(
			addFault(invalid(jen.Lit(b.Name+".Options.").Op("+").Id("f").Dot("name"), jen.Lit(""), jen.Lit("must be left empty beside a client of your own")))))
		g.Id("o").Op("=").Id("o").Dot("withDefaults").Call()
		for _, o := range connection {
			if o.Default != nil {
				g.Add(field(o)).Op("=").Add(zero(o))
			}
		}
		g.Id("faults").Op("=").Append(jen.Id("faults"), jen.Id("o").Dot("check").Call().Op("..."))
		hookCall(g, b, true)
		g.Return(jen.Id("o"), jen.Qual("errors", "Join").Call(jen.Id("faults").Op("...")))
	})
}

// hookCall calls the hand-written check of rules between fields.
func hookCall(g *jen.Group, b model.Backend, client bool) {
	if b.ValidateHook && b.Ready {
		g.Id("faults").Op("=").Append(jen.Id("faults"), jen.Id("o").Dot("validate").Call(jen.Lit(client)))
	}
}

func addFault(err jen.Code) *jen.Statement {
	return jen.Id("faults").Op("=").Append(jen.Id("faults"), err)
}

// invalid calls the generated function of that name.
func invalid(field, value, allowed jen.Code) *jen.Statement {
	return jen.Id("invalid").Call(field, value, allowed)
}

// fault notes a fault of the option o.
func fault(b model.Backend, o model.Option, value *jen.Statement, allowed string) *jen.Statement {
	return addFault(invalid(jen.Lit(b.Name+".Options."+o.Name), value, jen.Lit(allowed)))
}

func checks(f *jen.File, b model.Backend, name, doc string, options []model.Option) {
	comment(f, doc)
	f.Func().Params(jen.Id("o").Id("Options")).Id(name).Params().Index().Error().BlockFunc(func(g *jen.Group) {
		g.Var().Id("faults").Index().Error()
		for _, o := range options {
			check(g, b, o)
		}
		g.Return(jen.Id("faults"))
	})
}

func quoted(o model.Option, value *jen.Statement) *jen.Statement {
	switch o.Kind {
	case model.Int:
		return jen.Qual("strconv", "Itoa").Call(value)
	case model.Duration:
		return value.Dot("String").Call()
	case model.Enum:
		return jen.Id("quote").Call(jen.String().Call(value))
	case model.URL:
		return jen.Id("quote").Call(jen.Id("withoutCredentials").Call(value))
	case model.Secret:
		return jen.Lit("")
	default:
		return jen.Id("quote").Call(value)
	}
}

// check makes the checks of one field.
func check(g *jen.Group, b model.Backend, o model.Option) {
	if o.Required {
		g.If(isZero(o, field(o))).Block(fault(b, o, jen.Lit(""), "must not be empty"))
	}
	bad := func() *jen.Statement { return fault(b, o, quoted(o, field(o)), allowed(o)) }
	switch o.Kind {
	case model.Int, model.Duration:
		cond := field(o).Op("<").Add(literal(o, minimum(o)))
		if o.Max != nil {
			cond.Op("||").Add(field(o)).Op(">").Add(literal(o, o.Max))
		}
		g.If(cond).Block(bad())
	case model.Enum:
		g.Switch(field(o)).BlockFunc(func(g *jen.Group) {
			g.CaseFunc(func(g *jen.Group) {
				for _, e := range o.Values {
					g.Id(e.Const)
				}
			})
			g.Default().Block(bad())
		})
	case model.List:
		cond := jen.Id("e").Op("==").Lit("")
		words := "must hold no empty element"
		if o.Pattern != nil {
			cond = jen.Op("!").Id("pattern" + o.Name).Dot("MatchString").Call(jen.Id("e"))
			words = "each element " + allowed(o)
		}
		g.For(jen.List(jen.Id("_"), jen.Id("e")).Op(":=").Range().Add(field(o))).Block(
			jen.If(cond).Block(fault(b, o, jen.Id("quote").Call(jen.Id("e")), words)))
	case model.URL:
		g.If(field(o).Op("!=").Lit("").Op("&&").Op("!").Add(urlCondition(o))).Block(bad())
	case model.String:
		if o.Pattern != nil {
			g.If(field(o).Op("!=").Lit("").Op("&&").Op("!").Id("pattern" + o.Name).Dot("MatchString").Call(field(o))).Block(bad())
		}
	}
}

func urlCondition(o model.Option) *jen.Statement {
	if o.Pattern != nil {
		return jen.Id("pattern" + o.Name).Dot("MatchString").Call(field(o))
	}
	return jen.Id("isHTTP").Call(field(o))
}
