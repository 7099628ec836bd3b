package emit

import (
	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// Options makes backends/<b>/options_gen.go: the struct, its defaults, checks,
// parsers and printers.
func Options(m *model.Model) ([]File, error) {
	var out []File
	for _, b := range m.Backends {
		f := goFile(m, b)
		optionsStruct(f, b)
		enums(f, b)
		optionsDefaults(f, b)
		optionsValidate(f, m, b)
		optionsParse(f, b)
		optionsPrint(f, b)
		file, err := render(b.Dir+"/options_gen.go", f)
		if err != nil {
			return nil, err
		}
		out = append(out, file)
	}
	return out, nil
}

func optionsStruct(f *jen.File, b model.Backend) {
	comment(f, "Options configures a "+b.Title+" backend. A field at its zero value means the default named with it. Validate tells every fault at once; String and LogValue leave secrets out.")
	f.Type().Id("Options").StructFunc(func(g *jen.Group) {
		for i, o := range b.Options {
			if i > 0 {
				g.Line()
			}
			comment(g, o.Doc+"\n\n"+notes(o))
			g.Id(o.Name).Add(goType(o))
		}
	})
}

func goType(o model.Option) *jen.Statement {
	switch o.Kind {
	case model.Bool:
		return jen.Bool()
	case model.Int:
		return jen.Int()
	case model.Duration:
		return jen.Qual("time", "Duration")
	case model.List:
		return jen.Index().String()
	case model.Enum:
		return jen.Id(o.Name)
	case model.Go:
		t := jen.Id(o.GoName)
		if o.GoPackage != "" {
			t = jen.Qual(o.GoPackage, o.GoName)
		}
		if o.GoPointer {
			return jen.Op("*").Add(t)
		}
		return t
	default:
		return jen.String()
	}
}

func enums(f *jen.File, b model.Backend) {
	for _, o := range b.Options {
		if o.Kind != model.Enum {
			continue
		}
		comment(f, o.Name+" is the type of the option of that name.")
		f.Type().Id(o.Name).String()
		comment(f, "The values of "+o.Name+".")
		f.Const().DefsFunc(func(g *jen.Group) {
			for _, e := range o.Values {
				comment(g, e.Const+": "+e.Doc)
				g.Id(e.Const).Id(o.Name).Op("=").Lit(e.Value)
			}
		})
	}
}

func field(o model.Option) *jen.Statement { return jen.Id("o").Dot(o.Name) }

func optionsDefaults(f *jen.File, b model.Backend) {
	comment(f, "withDefaults returns o with its defaults filled in.")
	f.Func().Params(jen.Id("o").Id("Options")).Id("withDefaults").Params().Id("Options").BlockFunc(func(g *jen.Group) {
		for _, o := range b.Options {
			if o.Default == nil {
				continue
			}
			g.If(isZero(o, field(o))).Block(field(o).Op("=").Add(literal(o, o.Default)))
		}
		g.Return(jen.Id("o"))
	})
}
