package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// invocation is a command line after normalisation: which command, what was
// asked of it, and the words in the order that cli wants them.
type invocation struct {
	command *cli.Command // nil: the program itself
	path    []string     // names of the command and the ones above it
	argv    []string     // for cli.App.Run
	help    bool
	version bool
}

// normalizer puts flags before arguments, because cli stops looking for flags
// at the first argument, and takes apart grouped short flags.
type normalizer struct {
	app     *cli.App
	command *cli.Command
	path    []string
	flags   []string
	args    []string
	help    bool
}

// normalize reads the words after the program's name.
func normalize(app *cli.App, words []string) (*invocation, error) {
	n := &normalizer{app: app}
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "--":
			n.args = append(n.args, words[i+1:]...)
			i = len(words)
		case n.command == nil && isVersion(w):
			return &invocation{version: true}, nil
		case len(w) > 1 && w[0] == '-':
			used, err := n.flag(w, words[i+1:])
			if err != nil {
				return nil, err
			}
			i += used
		default:
			if err := n.word(w); err != nil {
				return nil, err
			}
		}
	}
	return n.result()
}

func isVersion(w string) bool { return w == "--version" || w == "-V" }

func (n *normalizer) result() (*invocation, error) {
	inv := &invocation{command: n.command, path: n.path, help: n.help}
	if n.help {
		return inv, nil
	}
	if n.command == nil {
		return nil, &usageError{"", "no command given"}
	}
	if len(n.command.Subcommands) > 0 && n.command.Action == nil {
		return nil, n.usage("%s needs one of: %s", n.name(), strings.Join(subcommandNames(n.command), ", "))
	}
	inv.argv = append([]string{n.app.Name}, n.path...)
	inv.argv = append(inv.argv, n.flags...)
	inv.argv = append(inv.argv, "--")
	inv.argv = append(inv.argv, n.args...)
	return inv, nil
}

// word takes a word that is no flag: the command, a command below it, or an
// argument.
func (n *normalizer) word(w string) error {
	switch {
	case n.command == nil:
		c := n.app.Command(w)
		if c == nil {
			return &usageError{"", fmt.Sprintf("unknown command %q%s", w, suggestion(w, commandNames(n.app.Commands)))}
		}
		n.command, n.path = c, []string{c.Name}
	case len(n.args) == 0 && n.command.Command(w) != nil:
		n.command = n.command.Command(w)
		n.path = append(n.path, n.command.Name)
	case len(n.command.Subcommands) > 0 && n.command.Action == nil:
		return n.usage("unknown command %q%s", n.name()+" "+w, suggestion(w, subcommandNames(n.command)))
	default:
		n.args = append(n.args, w)
	}
	return nil
}

// flag takes a word that starts with a dash and returns how many of the words
// after it are its value.
func (n *normalizer) flag(w string, rest []string) (int, error) {
	if strings.HasPrefix(w, "--") {
		return n.long(w, w[2:], rest)
	}
	if n.lookup(w[1:2]) == nil && w[1] == 'h' && len(w) == 2 {
		n.help = true
		return 0, nil
	}
	if n.takesExpressions() && (len(w) > 2 || n.lookup(w[1:]) == nil) {
		if n.lookup(w[1:]) != nil {
			return n.long(w, w[1:], rest)
		}
		n.args = append(n.args, w)
		return 0, nil
	}
	if n.isOperand(w) {
		n.args = append(n.args, w)
		return 0, nil
	}
	return n.group(w, rest)
}

// isOperand reports whether a word with a dash is no flag but what is to be
// taken away: "chmod -w", "chattr -i".
func (n *normalizer) isOperand(w string) bool {
	if n.command == nil {
		return false
	}
	switch n.command.Name {
	case "chmod":
		rest := strings.TrimLeft(w[1:], "rwxXst")
		return len(rest) < len(w)-1 && (rest == "" || strings.IndexByte(",+=-", rest[0]) >= 0)
	case "chattr":
		return strings.Trim(w[1:], attrLetterList) == ""
	}
	return false
}

func (n *normalizer) long(w, body string, rest []string) (int, error) {
	name, value, hasValue := strings.Cut(body, "=")
	if name == "help" {
		n.help = true
		return 0, nil
	}
	f := n.lookup(name)
	if f == nil || len(name) == 1 && strings.HasPrefix(w, "--") {
		if n.takesExpressions() {
			n.args = append(n.args, w)
			return 0, nil
		}
		return 0, n.usage("unknown flag %q%s", dashes(w)+name, suggestion("--"+name, n.longNames()))
	}
	switch {
	case hasValue:
		n.set(f, value)
	case !takesValue(f):
		n.set(f, "true")
	case len(rest) == 0:
		return 0, n.usage("flag %q needs a value", w)
	default:
		n.set(f, rest[0])
		return 1, nil
	}
	return 0, nil
}

// group takes "-laR" apart. The first flag that takes a value has the rest of
// the word, or the next word.
func (n *normalizer) group(w string, rest []string) (int, error) {
	for i := 1; i < len(w); i++ {
		name := w[i : i+1]
		f := n.lookup(name)
		if f == nil {
			if len(w) > 2 && n.lookup(w[1:]) != nil {
				return 0, n.usage("unknown flag %q, did you mean %q?", w, "-"+w)
			}
			return 0, n.usage("unknown flag %q", "-"+name)
		}
		if !takesValue(f) {
			n.set(f, "true")
			continue
		}
		if i+1 < len(w) {
			n.set(f, strings.TrimPrefix(w[i+1:], "="))
			return 0, nil
		}
		if len(rest) == 0 {
			return 0, n.usage("flag %q needs a value", "-"+name)
		}
		n.set(f, rest[0])
		return 1, nil
	}
	return 0, nil
}

func (n *normalizer) set(f cli.Flag, value string) {
	n.flags = append(n.flags, "--"+f.Names()[0]+"="+value)
}

// lookup finds a flag of the current command. Before the command's name only
// the global ones are known.
func (n *normalizer) lookup(name string) cli.Flag {
	flags := globalFlags()
	if n.command != nil {
		flags = n.command.Flags
	}
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func (n *normalizer) longNames() []string {
	flags := globalFlags()
	if n.command != nil {
		flags = n.command.Flags
	}
	var names []string
	for _, f := range flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				names = append(names, "--"+name)
			}
		}
	}
	return names
}

// takesExpressions: find's tests look like flags with one dash, and their
// order matters, so they are arguments.
func (n *normalizer) takesExpressions() bool {
	return n.command != nil && n.command.Name == "find"
}

func (n *normalizer) name() string { return strings.Join(n.path, " ") }

func (n *normalizer) usage(format string, args ...any) error {
	return &usageError{n.name(), fmt.Sprintf(format, args...)}
}

// takesValue reports whether a flag needs a value.
func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}

func dashes(w string) string {
	if strings.HasPrefix(w, "--") {
		return "--"
	}
	return "-"
}

func commandNames(commands []*cli.Command) []string {
	var names []string
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

func subcommandNames(c *cli.Command) []string { return commandNames(c.Subcommands) }

// suggestion names the known word closest to a mistyped one.
func suggestion(word string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		if d := editDistance(word, k); d < bestDistance && d < len(word) {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// editDistance counts the insertions, deletions and changes between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
