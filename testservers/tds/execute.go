package tds

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// handlers are the statements known, by their normalised text.
var handlers = make(map[string]statementHandler)

type statementHandler struct {
	name string
	run  func(x *exec) error
}

// register adds a statement. {table} stands for the quoted schema and table,
// {t} for the quoted table alone.
func register(name, text string, run func(x *exec) error) struct{} {
	text = normalise(text)
	if other, known := handlers[text]; known {
		panic("tds: " + name + " has the text of " + other.name)
	}
	handlers[text] = statementHandler{name, run}
	return struct{}{}
}

// normalise drops comment lines and makes every run of white space one space.
func normalise(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			words = append(words, strings.Fields(line)...)
		}
	}
	return strings.TrimSuffix(strings.Join(words, " "), ";")
}

var tableName = regexp.MustCompile(`(\[(?:[^\]]|\]\])+\])\.(\[(?:[^\]]|\]\])+\])`)

// find identifies a statement and the table it is about.
func find(text string) (h statementHandler, schema, table string, ok bool) {
	text = normalise(text)
	if m := tableName.FindStringSubmatch(text); m != nil {
		schema, table = unquote(m[1]), unquote(m[2])
		text = strings.ReplaceAll(text, m[0], "{table}")
		text = strings.ReplaceAll(text, m[2], "{t}")
	}
	h, ok = handlers[text]
	return h, schema, table, ok
}

func unquote(name string) string {
	return strings.ReplaceAll(name[1:len(name)-1], "]]", "]")
}

// execute runs a request and writes the answer to p. An error returned ends the
// connection; what the statement itself reports is part of the answer.
func (c *session) execute(ctx context.Context, m message, p *reply) error {
	var err error
	switch m.kind {
	case typeTransMgr:
		err = c.transMgr(m.data, p)
	case typeBatch:
		r := &reader{b: m.data}
		r.headers()
		if r.err != nil {
			return r.err
		}
		err = c.run(ctx, p, fromUCS2(r.b), nil)
	default:
		p.proc = true
		call, decodeErr := decodeRPC(m.data)
		if decodeErr != nil {
			return decodeErr
		}
		args := make(map[string]any, len(call.params))
		for _, a := range call.params {
			args[strings.TrimPrefix(a.name, "@")] = a.value
		}
		if call.proc != "" {
			return c.procedure(ctx, p, call.proc, args)
		}
		err = c.run(ctx, p, call.text, args)
	}
	var failed *sqlError
	if err != nil && !errors.As(err, &failed) {
		if ctx.Err() != nil {
			return nil // answered as an attention, or the connection is gone
		}
		return err
	}
	p.end(failed, 0)
	return nil
}

// run executes the text of a batch.
func (c *session) run(ctx context.Context, p *reply, text string, args map[string]any) error {
	if is, err := c.createSchema(text); is {
		return err
	}
	h, schema, table, ok := find(text)
	if !ok {
		c.s.counts["unknown"]++
		return &sqlError{102, 15, fmt.Sprintf("The stand-in does not know this statement: %.4000s", text)}
	}
	if err := c.s.begin(h.name); err != nil {
		return err
	}
	return h.run(&exec{ctx: ctx, c: c, s: c.s, args: args, p: p, name: h.name, schema: schema, table: table})
}

// transMgr begins or ends a transaction.
func (c *session) transMgr(data []byte, p *reply) error {
	r := &reader{b: data}
	r.headers()
	kind := r.u16()
	if r.err != nil {
		return r.err
	}
	const begin, commit, rollback = 5, 7, 8
	switch {
	case kind == begin && c.tran == nil:
		c.tran = c.s.newTransaction(c)
		p.envTransaction(envBegin, c.tran.id)
	case kind == commit && c.tran != nil:
		c.tran.commit()
		p.envTransaction(envCommit, c.tran.id)
		c.tran = nil
	case kind == rollback && c.tran != nil:
		c.tran.rollback()
		p.envTransaction(envRollback, c.tran.id)
		c.tran = nil
	case kind == commit, kind == rollback:
		return &sqlError{3902, 16, "The request has no corresponding BEGIN TRANSACTION."}
	default:
		return &sqlError{102, 15, fmt.Sprintf("The stand-in does not know transaction request %d.", kind)}
	}
	return nil
}
