package emit

import (
	"strings"

	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// Examples makes backends/<b>/example_gen_test.go: examples of what every backend
// exports alike. Those that need a server are compiled and not run.
func Examples(m *model.Model) ([]File, error) {
	var out []File
	for _, b := range m.Ready() {
		f := jen.NewFilePathName(b.Path+"_test", b.Name+"_test")
		f.HeaderComment(Header)
		f.ImportName(b.Path, b.Name)
		f.ImportAlias(m.Module+"/core", "multilock")
		e := examples{b: b, n: namesOf(m)}
		e.openURL(f)
		e.optionsFromEnv(f)
		e.parseURL(f)
		e.newDriver(f)
		file, err := render(b.Dir+"/example_gen_test.go", f)
		if err != nil {
			return nil, err
		}
		out = append(out, file)
	}
	return out, nil
}

type examples struct {
	b model.Backend
	n names
}

// pkg is something the backend's package exports.
func (e examples) pkg(name string) *jen.Statement { return jen.Qual(e.b.Path, name) }

var exitOnError = jen.If(jen.Err().Op("!=").Nil()).Block(jen.Qual("log", "Fatal").Call(jen.Err()))

func background(g *jen.Group) {
	g.Id("ctx").Op(":=").Qual("context", "Background").Call()
}

func (e examples) openURL(f *jen.File) {
	comment(f, "Work that one replica does at a time. Another store is another import and another URL.")
	f.Func().Id("ExampleOpenURL").Params().BlockFunc(func(g *jen.Group) {
		background(g)
		g.List(jen.Id("b"), jen.Err()).Op(":=").Add(e.pkg("OpenURL")).Call(jen.Id("ctx"), jen.Lit(e.b.Example))
		g.Add(exitOnError)
		g.Defer().Id("b").Dot("Close").Call(jen.Id("ctx"))
		g.List(jen.Id("e"), jen.Err()).Op(":=").Add(e.n.multilock("New")).Call(jen.Id("b"), e.n.multilock("Options").Values(jen.Dict{jen.Id("Group"): jen.Lit("nightly")}))
		g.Add(exitOnError)
		g.Err().Op("=").Id("e").Dot("Run").Call(jen.Id("ctx"), jen.Func().Params(jen.Id("ctx").Qual("context", "Context"), jen.Id("term").Add(e.n.multilock("Term"))).Error().BlockFunc(func(g *jen.Group) {
			g.Qual("log", "Printf").Call(jen.Lit("leading; token %d"), jen.Id("term").Dot("Token"))
			g.Op("<-").Id("ctx").Dot("Done").Call().Comment("ends with the term")
			g.Return(jen.Nil())
		}))
		g.Qual("log", "Print").Call(jen.Err())
	})
}

func (e examples) optionsFromEnv(f *jen.File) {
	comment(f, "Options from the environment: "+"MULTILOCK_"+strings.ToUpper(e.b.Name)+"_URL, and a variable for each option, which wins.")
	f.Func().Id("ExampleOptionsFromEnv").Params().BlockFunc(func(g *jen.Group) {
		background(g)
		g.List(jen.Id("o"), jen.Err()).Op(":=").Add(e.pkg("OptionsFromEnv")).Call()
		g.Add(exitOnError)
		g.List(jen.Id("b"), jen.Err()).Op(":=").Add(e.pkg("Open")).Call(jen.Id("ctx"), jen.Id("o"))
		g.Add(exitOnError)
		g.Defer().Id("b").Dot("Close").Call(jen.Id("ctx"))
		g.Qual("log", "Print").Call(jen.Lit("opened "), jen.Id("b")).Comment("without secrets")
	})
}

func (e examples) parseURL(f *jen.File) {
	comment(f, "Options are checked before anything is connected, and all their faults are told at once.")
	f.Func().Id("ExampleParseURL").Params().BlockFunc(func(g *jen.Group) {
		g.List(jen.Id("o"), jen.Err()).Op(":=").Add(e.pkg("ParseURL")).Call(jen.Lit(e.b.Example))
		g.Add(exitOnError)
		g.Qual("fmt", "Println").Call(jen.Id("o").Dot("Validate").Call())
		g.List(jen.Id("_"), jen.Err()).Op("=").Add(e.pkg("ParseURL")).Call(jen.Lit("no-such-scheme://host"))
		g.Qual("fmt", "Println").Call(jen.Qual("errors", "Is").Call(jen.Err(), e.n.multilock("ErrInvalid")))
		for _, line := range []string{"Output:", "<nil>", "true"} {
			g.Comment(line)
		}
	})
}

func (e examples) newDriver(f *jen.File) {
	comment(f, "A driver by itself, to put another around it.")
	f.Func().Id("ExampleNewDriver").Params().BlockFunc(func(g *jen.Group) {
		background(g)
		g.List(jen.Id("o"), jen.Err()).Op(":=").Add(e.pkg("ParseURL")).Call(jen.Lit(e.b.Example))
		g.Add(exitOnError)
		g.List(jen.Id("d"), jen.Id("info"), jen.Err()).Op(":=").Add(e.pkg("NewDriver")).Call(jen.Id("o"))
		g.Add(exitOnError)
		g.List(jen.Id("b"), jen.Err()).Op(":=").Add(e.n.multilock("NewBackend")).Call(jen.Id("d"), jen.Id("info")).Comment("or a driver around d")
		g.Add(exitOnError)
		g.Defer().Id("b").Dot("Close").Call(jen.Id("ctx"))
	})
}
