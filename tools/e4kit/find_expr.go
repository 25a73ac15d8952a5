package main

import (
	"fmt"
	"slices"
	"strings"
)

// matcher is a test or an action: whether the expression goes on.
type matcher func(s *subject) bool

// primary is a test, an action or an option of an expression.
type primary struct {
	name, arg, usage string
	// build makes the matcher; inode says that it needs more than the
	// directory entry.
	build  func(f *finder, arg string) (matcher, error)
	inode  bool
	action bool // prints or the like: no -print is added
}

// expressionParser reads an expression: "or" binds weakest, then "and", which
// may be left out, then "not".
type expressionParser struct {
	f       *finder
	words   []string
	pos     int
	actions bool
	depth   int
}

// parseExpression reads words, adds -print where no action is given, and sets
// the finder's options.
func parseExpression(f *finder, words []string) (matcher, error) {
	f.maxDepth = -1
	f.now = f.e.now().Unix()
	p := &expressionParser{f: f, words: words}
	root := matcher(func(*subject) bool { return true })
	if len(words) > 0 {
		var err error
		if root, err = p.or(); err != nil {
			return nil, err
		}
		if p.pos < len(p.words) {
			return nil, fmt.Errorf("unexpected %q", p.words[p.pos])
		}
	}
	if p.actions {
		return root, nil
	}
	print, err := buildPrint(f, "")
	f.needsInode = f.needsInode || f.e.json
	return func(s *subject) bool { return root(s) && print(s) }, err
}

func (p *expressionParser) peek() string {
	if p.pos < len(p.words) {
		return dash(p.words[p.pos])
	}
	return ""
}

// dash lets --name stand for -name.
func dash(w string) string {
	if strings.HasPrefix(w, "--") && len(w) > 2 {
		return w[1:]
	}
	return w
}

func (p *expressionParser) or() (matcher, error) {
	left, err := p.and()
	for err == nil && (p.peek() == "-o" || p.peek() == "-or") {
		p.pos++
		var right matcher
		if right, err = p.and(); err == nil {
			l := left
			left = func(s *subject) bool { return l(s) || right(s) }
		}
	}
	return left, err
}

func (p *expressionParser) and() (matcher, error) {
	left, err := p.not()
	for err == nil {
		switch p.peek() {
		case "", "-o", "-or", ")":
			return left, nil
		case "-a", "-and":
			p.pos++
		}
		var right matcher
		if right, err = p.not(); err == nil {
			l := left
			left = func(s *subject) bool { return l(s) && right(s) }
		}
	}
	return left, err
}

// maxParentheses bounds the recursion of the parser.
const maxParentheses = 200

func (p *expressionParser) not() (matcher, error) {
	switch p.peek() {
	case "!", "-not":
		p.pos++
		if p.depth++; p.depth > maxParentheses {
			return nil, fmt.Errorf("nested too deep")
		}
		m, err := p.not()
		p.depth--
		return func(s *subject) bool { return !m(s) }, err
	case "(":
		p.pos++
		if p.depth++; p.depth > maxParentheses {
			return nil, fmt.Errorf("nested too deep")
		}
		m, err := p.or()
		if err != nil {
			return nil, err
		}
		p.depth--
		if p.peek() != ")" {
			return nil, fmt.Errorf("a parenthesis is not closed")
		}
		p.pos++
		return m, nil
	}
	return p.primary()
}

func (p *expressionParser) primary() (matcher, error) {
	if p.pos >= len(p.words) {
		return nil, fmt.Errorf("the expression ends too early")
	}
	word := dash(p.words[p.pos])
	i := slices.IndexFunc(primaries, func(x primary) bool { return slices.Contains(strings.Split(x.name, ", "), word) })
	if i < 0 {
		return nil, fmt.Errorf("unknown test %q%s", p.words[p.pos], suggestion(word, primaryNames()))
	}
	x := primaries[i]
	p.pos++
	arg := ""
	if x.arg != "" {
		if p.pos >= len(p.words) {
			return nil, fmt.Errorf("%s needs a value", word)
		}
		arg = p.words[p.pos]
		p.pos++
	}
	p.actions = p.actions || x.action
	p.f.needsInode = p.f.needsInode || x.inode
	m, err := x.build(p.f, arg)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", word, arg, err)
	}
	return m, nil
}

func primaryNames() []string {
	var names []string
	for _, p := range primaries {
		names = append(names, strings.Split(p.name, ", ")...)
	}
	return names
}
