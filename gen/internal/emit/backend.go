package emit

import (
	"github.com/dave/jennifer/jen"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// Backends makes backends/<b>/backend_gen.go: constructors, declared
// capabilities and interface assertions of the backends that are ready.
func Backends(m *model.Model) ([]File, error) {
	var out []File
	for _, b := range m.Backends {
		if !b.Ready {
			continue
		}
		f, n := goFile(m, b), namesOf(m)
		assertions(f, n, b)
		constructors(f, n, b)
		info(f, n, b)
		file, err := render(b.Dir+"/backend_gen.go", f)
		if err != nil {
			return nil, err
		}
		out = append(out, file)
	}
	return out, nil
}

// optional lists the optional interfaces and whether b declares them.
func optional(b model.Backend) []struct {
	Name string
	Has  bool
} {
	return []struct {
		Name string
		Has  bool
	}{{"BatchAcquirer", b.Caps.BatchAcquirer}, {"BatchReader", b.Caps.BatchReader}, {"Pinger", b.Caps.Pinger}, {"Watcher", b.Caps.Watcher}}
}

func assertions(f *jen.File, n names, b model.Backend) {
	f.Comment("The optional interfaces the spec declares.")
	f.Var().DefsFunc(func(g *jen.Group) {
		one := func(name string) {
			g.Id("_").Add(n.drv(name)).Op("=").Parens(jen.Op("*").Id(b.DriverType)).Parens(jen.Nil())
		}
		one("Driver")
		for _, i := range optional(b) {
			if i.Has {
				one(i.Name)
			}
		}
	})
}

func constructors(f *jen.File, n names, b model.Backend) {
	comment(f, "Open returns a backend over "+b.Title+". It needs no network: an unreachable or wrongly configured store shows at the first attempt. Close the backend when its electors are stopped.")
	f.Func().Id("Open").Params(jen.Id("ctx").Qual("context", "Context"), jen.Id("o").Id("Options")).Params(jen.Op("*").Add(n.multilock("Backend")), jen.Error()).Block(
		jen.If(jen.Err().Op(":=").Id("ctx").Dot("Err").Call(), jen.Err().Op("!=").Nil()).Block(jen.Return(jen.Nil(), jen.Err())),
		jen.List(jen.Id("d"), jen.Id("i"), jen.Err()).Op(":=").Id("NewDriver").Call(jen.Id("o")),
		jen.If(jen.Err().Op("!=").Nil()).Block(jen.Return(jen.Nil(), jen.Err())),
		jen.List(jen.Id("b"), jen.Err()).Op(":=").Add(n.multilock("NewBackend")).Call(jen.Id("d"), jen.Id("i")),
		jen.If(jen.Err().Op("!=").Nil()).Block(jen.Return(jen.Nil(), jen.Qual("errors", "Join").Call(jen.Err(), jen.Id("d").Dot("Close").Call()))),
		jen.Return(jen.Id("b"), jen.Nil()),
	)
	comment(f, "OpenURL is Open with the options of ParseURL, for a URL such as "+b.Example+".")
	f.Func().Id("OpenURL").Params(jen.Id("ctx").Qual("context", "Context"), jen.Id("raw").String()).Params(jen.Op("*").Add(n.multilock("Backend")), jen.Error()).Block(
		jen.List(jen.Id("o"), jen.Err()).Op(":=").Id("ParseURL").Call(jen.Id("raw")),
		jen.If(jen.Err().Op("!=").Nil()).Block(jen.Return(jen.Nil(), jen.Err())),
		jen.Return(jen.Id("Open").Call(jen.Id("ctx"), jen.Id("o"))),
	)
	comment(f, "NewDriver returns the bare driver and what it declares, for the conformance kit and for wrappers. Most programs want Open.")
	f.Func().Id("NewDriver").Params(jen.Id("o").Id("Options")).Params(n.drv("Driver"), n.drv("Info"), jen.Error()).Block(
		jen.If(jen.Err().Op(":=").Id("o").Dot("Validate").Call(), jen.Err().Op("!=").Nil()).Block(jen.Return(jen.Nil(), n.drv("Info").Values(), jen.Err())),
		jen.Id("o").Op("=").Id("o").Dot("withDefaults").Call(),
		jen.List(jen.Id("d"), jen.Err()).Op(":=").Id("newDriver").Call(jen.Id("o")),
		jen.If(jen.Err().Op("!=").Nil()).Block(jen.Return(jen.Nil(), n.drv("Info").Values(), jen.Err())),
		jen.Return(jen.Id("d"), jen.Id("info").Call(jen.Id("o")), jen.Nil()),
	)
}

func info(f *jen.File, n names, b model.Backend) {
	c := b.Caps
	d := jen.Dict{jen.Id("Name"): jen.Lit(b.Name)}
	set := func(name string, zero bool, v jen.Code) {
		if !zero {
			d[jen.Id(name)] = v
		}
	}
	set("MinTTL", c.MinTTL == 0, duration(c.MinTTL))
	set("MaxTTL", c.MaxTTL == 0, duration(c.MaxTTL))
	set("TTLGranularity", c.TTLGranularity == 0, duration(c.TTLGranularity))
	set("Shortening", c.Shortening == 0, duration(c.Shortening))
	set("ExpirySlack", c.ExpirySlack == 0, duration(c.ExpirySlack))
	set("ExpiryFactor", c.ExpiryFactor == 0, jen.Lit(c.ExpiryFactor))
	set("RemainingKnown", !c.RemainingKnown, jen.True())
	set("PollDivisor", c.PollDivisor == 0, jen.Lit(c.PollDivisor))
	set("PushOnResign", !c.PushOnResign, jen.True())
	set("PushOnExpiry", !c.PushOnExpiry, jen.True())
	set("Calls", c.Calls == 0, jen.Lit(c.Calls))
	set("Hedge", !c.Hedge, jen.True())
	set("RenewBatch", c.RenewBatch == 0, jen.Lit(c.RenewBatch))
	set("ReadBatch", c.ReadBatch == 0, jen.Lit(c.ReadBatch))
	set("AcquireBatch", c.AcquireBatch == 0, jen.Lit(c.AcquireBatch))
	set("RenewExpired", !c.RenewExpired, jen.True())
	set("Connections", c.Connections == 0, jen.Lit(c.Connections))
	if b.Target != nil {
		d[jen.Id("Target")] = targetOf(*b.Target)
	}
	comment(f, "info is what the backend declares about itself. o has its defaults.")
	param := jen.Id("o").Id("Options")
	if b.Target == nil && !b.AdjustInfo {
		param = jen.Id("_").Id("Options")
	}
	f.Func().Id("info").Params(param).Add(n.drv("Info")).BlockFunc(func(g *jen.Group) {
		if !b.AdjustInfo {
			g.Return(n.drv("Info").Values(d))
			return
		}
		g.Id("i").Op(":=").Add(n.drv("Info")).Values(d)
		g.Id("adjustInfo").Call(jen.Id("o"), jen.Op("&").Id("i"))
		g.Return(jen.Id("i"))
	})
}

func targetOf(o model.Option) *jen.Statement {
	switch o.Kind {
	case model.List:
		return jen.Qual("strings", "Join").Call(field(o), jen.Lit(","))
	case model.URL:
		return jen.Id("withoutCredentials").Call(field(o))
	default:
		return field(o)
	}
}
