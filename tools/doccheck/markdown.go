package main

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// document is what doccheck looks at in a Markdown file.
type document struct {
	name    string
	lines   []string
	links   []link
	anchors map[string]bool
	blocks  []block
}

type link struct {
	line   int
	target string
}

// block is a fenced block of Go.
type block struct {
	file, text string
	line       int // of its first line of code
	skip       bool
	reason     string
	with       string // declarations it takes for granted
}

var (
	fence     = regexp.MustCompile("^\\s*(```+|~~~+)\\s*([A-Za-z0-9_+-]*)")
	heading   = regexp.MustCompile(`^#{1,6}\s+(.*?)\s*#*\s*$`)
	inline    = regexp.MustCompile("!?\\[(?:[^\\[\\]]|\\[[^\\]]*\\])*\\]\\(\\s*<?([^)\\s>]+)>?(?:\\s+\"[^\"]*\")?\\s*\\)")
	reference = regexp.MustCompile(`^\s{0,3}\[[^\]]+\]:\s*<?(\S+?)>?(\s|$)`)
	codeSpan  = regexp.MustCompile("`+[^`]*`+")
	htmlID    = regexp.MustCompile(`<a\s+(?:id|name)="([^"]+)"`)
	directive = regexp.MustCompile(`(?s)^<!--\s*doccheck:\s*(skip|with)\b\s*(.*?)\s*-->$`)
	linked    = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
)

// read takes a file apart.
func read(name, text string) *document {
	d := &document{name: name, lines: strings.Split(text, "\n"), anchors: make(map[string]bool)}
	comment := "" // the HTML comment that ended right before
	for i := 0; i < len(d.lines); i++ {
		line := d.lines[i]
		trimmed := strings.TrimSpace(line)
		if m := fence.FindStringSubmatch(line); m != nil {
			start := i + 1
			for i++; i < len(d.lines) && !strings.HasPrefix(strings.TrimSpace(d.lines[i]), m[1]); i++ {
			}
			if m[2] == "go" {
				d.add(start, d.lines[start:min(i, len(d.lines))], comment)
			}
			comment = ""
			continue
		}
		if strings.HasPrefix(trimmed, "<!--") {
			comment = trimmed
			for !strings.Contains(comment, "-->") && i+1 < len(d.lines) {
				i++
				comment += "\n" + strings.TrimSpace(d.lines[i])
			}
			continue
		}
		if trimmed != "" {
			comment = ""
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			d.anchor(m[1])
		}
		for _, m := range htmlID.FindAllStringSubmatch(line, -1) {
			d.anchors[m[1]] = true
		}
		line = codeSpan.ReplaceAllStringFunc(line, func(s string) string { return strings.Repeat("x", len(s)) })
		for _, m := range inline.FindAllStringSubmatch(line, -1) {
			d.links = append(d.links, link{i + 1, m[1]})
		}
		if m := reference.FindStringSubmatch(line); m != nil {
			d.links = append(d.links, link{i + 1, m[1]})
		}
	}
	return d
}

func (d *document) add(start int, lines []string, comment string) {
	b := block{file: d.name, line: start + 1, text: strings.Join(lines, "\n")}
	if m := directive.FindStringSubmatch(comment); m != nil {
		switch m[1] {
		case "skip":
			b.skip, b.reason = true, m[2]
		case "with":
			b.with = m[2]
		}
	}
	d.blocks = append(d.blocks, b)
}

// anchor adds the anchor that GitHub gives a heading.
func (d *document) anchor(text string) {
	text = linked.ReplaceAllString(text, "$1")
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	a := b.String()
	for n := 1; d.anchors[a]; n++ {
		a = fmt.Sprintf("%s-%d", b.String(), n)
	}
	d.anchors[a] = true
}

// follow returns why a link of the file name leads nowhere, or nothing. Links to
// other sites are not followed: the check needs no network.
func (l link) follow(root, name string, load func(string) (*document, error)) string {
	u, err := url.Parse(l.target)
	if err != nil {
		return err.Error()
	}
	if u.Scheme != "" || u.Host != "" {
		return ""
	}
	if strings.HasPrefix(u.Path, "/") {
		return "write it relative to this file"
	}
	to := name
	if u.Path != "" {
		to = path.Join(path.Dir(name), u.Path)
	}
	if strings.HasPrefix(to, "../") || to == ".." {
		return "leads out of the repository"
	}
	if _, err := os.Stat(filepath.Join(root, to)); err != nil {
		return "there is no such file"
	}
	if u.Fragment == "" || !strings.HasSuffix(to, ".md") {
		return ""
	}
	d, err := load(to)
	if err != nil {
		return err.Error()
	}
	if !d.anchors[u.Fragment] {
		return "there is no such heading"
	}
	return ""
}
