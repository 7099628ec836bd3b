package emit

import (
	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// BackendTests makes backends/<b>/backend_gen_test.go: what a compile-time
// assertion cannot say, that an interface is absent, and the ways Open fails.
func BackendTests(m *model.Model) ([]File, error) {
	var out []File
	for _, b := range m.Backends {
		if !b.Ready {
			continue
		}
		f, n := goFile(m, b), namesOf(m)
		absentTest(f, n, b)
		openTest(f, n, b)
		file, err := render(b.Dir+"/backend_gen_test.go", f)
		if err != nil {
			return nil, err
		}
		out = append(out, file)
	}
	return out, nil
}

func absentTest(f *jen.File, n names, b model.Backend) {
	testFunc(f, "TestDeclaredInterfaces", func(g *jen.Group) {
		comment(g, "Interfaces the driver has but backends.yaml does not declare.")
		g.Var().Id("d").Any().Op("=").Parens(jen.Op("*").Id(b.DriverType)).Parens(jen.Nil())
		for _, i := range optional(b) {
			if !i.Has {
				g.If(jen.List(jen.Id("_"), jen.Id("ok")).Op(":=").Id("d").Assert(n.drv(i.Name)), jen.Id("ok")).Block(
					jen.Id("t").Dot("Error").Call(jen.Lit("the driver is a driver." + i.Name + "; declare it")))
			}
		}
		g.Add(errorIf(jen.Id("i").Op(":=").Id("info").Call(jen.Parens(jen.Id("Options").Values()).Dot("withDefaults").Call()),
			jen.Id("i").Dot("Name").Op("!=").Lit(b.Name).Op("||").Id("i").Dot("Calls").Op("<").Lit(1).Op("||").Id("i").Dot("MinTTL").Op("<=").Lit(0),
			"Info is incomplete: %+v", jen.Id("i")))
		g.Id("_").Op("=").Id("d")
	})
}

func openTest(f *jen.File, n names, b model.Backend) {
	testFunc(f, "TestOpenRefuses", func(g *jen.Group) {
		g.If(jen.List(jen.Id("_"), jen.Err()).Op(":=").Id("OpenURL").Call(jen.Id("t").Dot("Context").Call(), jen.Lit("no-such-scheme://host")),
			jen.Op("!").Qual("errors", "Is").Call(jen.Err(), n.multilock("ErrInvalid"))).Block(
			jen.Id("t").Dot("Errorf").Call(jen.Lit("OpenURL of another scheme: %v"), jen.Err()))
		g.List(jen.Id("ctx"), jen.Id("cancel")).Op(":=").Qual("context", "WithCancel").Call(jen.Id("t").Dot("Context").Call())
		g.Id("cancel").Call()
		g.If(jen.List(jen.Id("_"), jen.Err()).Op(":=").Id("Open").Call(jen.Id("ctx"), jen.Id("Options").Values()),
			jen.Op("!").Qual("errors", "Is").Call(jen.Err(), jen.Qual("context", "Canceled"))).Block(
			jen.Id("t").Dot("Errorf").Call(jen.Lit("Open with a context that has ended: %v"), jen.Err()))
	})
}
