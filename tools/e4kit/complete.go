package main

import (
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// completeCommand is what the completion scripts call:
//
//	e4kit __complete -- WORD...
//
// with the words after the program's name up to the cursor, the last of them
// the one to complete. It prints a candidate on each line, with a tab and an
// explanation where there is one, and a last line that begins with a colon and
// says what the shell does then: ":files" completes names of host files as
// well, ":nospace" adds no blank, ":" neither. It never fails: somebody is
// typing.
func completeCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "__complete",
		Usage:     "list completions of a command line",
		ArgsUsage: "-- WORD...",
		Category:  categoryProgram,
		Hidden:    true,
		Description: `Used by the scripts of 'e4kit completion'.

Examples:
  e4kit __complete -- ls disk.img:/e`,
		Action: func(c *cli.Context) error {
			words := c.Args().Slice()
			if len(words) == 0 {
				words = []string{""}
			}
			k := &completer{e: e, app: c.App}
			k.complete(words)
			for _, line := range k.lines {
				e.writer().WriteString(line + "\n")
			}
			_, err := e.writer().WriteString(":" + k.then + "\n")
			return err
		},
	}
}

// completer collects candidates.
type completer struct {
	e     *env
	app   *cli.App
	lines []string
	then  string
}

// maxCandidates bounds what is offered of a huge directory.
const maxCandidates = 10000

func (k *completer) add(word, usage string) {
	if len(k.lines) >= maxCandidates || strings.ContainsAny(word, "\n\t") {
		return
	}
	if usage != "" {
		word += "\t" + usage
	}
	k.lines = append(k.lines, word)
}

func (k *completer) complete(words []string) {
	last := words[len(words)-1]
	command, flags, literal, args := k.scan(words[:len(words)-1])
	switch {
	case args < 0:
		k.then = "files" // no command of ours
	case k.pendingValue(words, flags, literal):
		k.then = "files"
		k.values(command, findFlag(flags, words[len(words)-2]), last)
	case !literal && strings.HasPrefix(last, "-"):
		k.flags(command, flags, last)
	case command == nil:
		k.commands(k.app.Commands, last)
	case command.Name == "umount", command.Name == "status":
		k.mountpoints(last)
	case command.Name == "help":
		k.commands(k.app.Commands, last)
	case command.Name == "completion":
		for _, shell := range []string{"bash", "zsh", "fish"} {
			if strings.HasPrefix(shell, last) {
				k.add(shell, "")
			}
		}
	case len(command.Subcommands) > 0 && args == 0:
		k.commands(command.Subcommands, last)
	default:
		k.place(words)
		k.target(last)
	}
}

// place keeps what --partition and --offset say of where in the image to look.
func (k *completer) place(words []string) {
	for i, w := range words[:len(words)-1] {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			value = words[i+1]
		}
		switch name {
		case "--":
			return
		case "--partition":
			k.e.flags.partition = value
		case "--offset":
			n, err := parseSize(value)
			k.e.flags.offset, k.e.flags.hasOffset = n, err == nil
		}
	}
}

// scan finds the command that the words before the cursor name, its flags,
// whether "--" ended them, and how many arguments there were: -1 after a
// command that does not exist.
func (k *completer) scan(words []string) (command *cli.Command, flags []cli.Flag, literal bool, args int) {
	flags = globalFlags()
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case literal:
			args++
		case w == "--":
			literal = true
		case strings.HasPrefix(w, "-") && len(w) > 1:
			if f := findFlag(flags, w); f != nil && takesValue(f) && !strings.Contains(w, "=") {
				i++
			}
		case command == nil:
			if command = k.app.Command(w); command == nil {
				return nil, flags, literal, -1
			}
			flags = command.Flags
		case args == 0 && command.Command(w) != nil:
			command = command.Command(w)
			flags = command.Flags
		default:
			args++
		}
	}
	return command, flags, literal, args
}

// findFlag finds the flag of a word: "--name", "-n", or the last of "-abn".
func findFlag(flags []cli.Flag, word string) cli.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if !strings.HasPrefix(word, "--") && name != "" {
		name = name[len(name)-1:]
	}
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				return f
			}
		}
	}
	return nil
}

// pendingValue reports whether the word at the cursor is the value of the flag
// before it.
func (k *completer) pendingValue(words []string, flags []cli.Flag, literal bool) bool {
	if literal || len(words) < 2 {
		return false
	}
	before := words[len(words)-2]
	if len(before) < 2 || before[0] != '-' || strings.Contains(before, "=") {
		return false
	}
	f := findFlag(flags, before)
	return f != nil && takesValue(f)
}

// values offers what a flag of mkfs or mount takes, if that is one of a few
// words.
func (k *completer) values(command *cli.Command, f cli.Flag, prefix string) {
	if command == nil || f == nil {
		return
	}
	var known func() []string
	switch command.Name {
	case "mkfs":
		known = mkfsValues[f.Names()[0]]
	case "mount":
		known = mountValues[f.Names()[0]]
	}
	if known == nil {
		return
	}
	k.then = ""
	// Of a list the last word is being typed.
	done := ""
	if i := strings.LastIndexByte(prefix, ','); i >= 0 && command.Name == "mount" {
		done, prefix = prefix[:i+1], prefix[i+1:]
	}
	for _, word := range known() {
		if strings.HasPrefix(word, prefix) {
			k.add(done+word, "")
		}
	}
}

func (k *completer) commands(commands []*cli.Command, prefix string) {
	for _, c := range commands {
		if !c.Hidden && strings.HasPrefix(c.Name, prefix) {
			k.add(c.Name, c.Usage)
		}
	}
}

func (k *completer) flags(command *cli.Command, flags []cli.Flag, prefix string) {
	if command != nil && command.Name == "find" && !strings.HasPrefix(prefix, "--") {
		for _, p := range primaries {
			for _, name := range strings.Split(p.name, ", ") {
				if strings.HasPrefix(name, prefix) {
					k.add(name, p.usage)
				}
			}
		}
	}
	for _, f := range flags {
		_, usage := flagHead(f)
		for _, name := range f.Names() {
			word := "--" + name
			if len(name) == 1 {
				word = "-" + name
			}
			if strings.HasPrefix(word, prefix) {
				k.add(word, usage)
			}
		}
	}
	if strings.HasPrefix("--help", prefix) {
		k.add("--help", "explain the command")
	}
}

// target completes IMAGE:/path from inside the image, and leaves the name of
// the image to the shell.
func (k *completer) target(word string) {
	t, err := parseTarget(word)
	if err != nil || !t.given {
		k.then = "files"
		if info, err := os.Stat(word); err == nil && !info.IsDir() && word != "" {
			k.then = "nospace"
			k.add(word+":/", "")
		}
		return
	}
	slash := strings.LastIndexByte(t.path, '/')
	if t.inode != 0 && slash < 0 {
		return
	}
	k.then = "nospace"
	dir, prefix := t, unescapeGlob(t.path[slash+1:])
	dir.path = t.path[:slash+1]
	k.e.flags.noGlob = false
	nodes, err := k.e.resolve(dir, followLast)
	if err != nil || len(nodes) != 1 || !nodes[0].inode.IsDir() {
		return
	}
	list, _ := listDir(nodes[0].inode, true)
	head := word[:len(word)-len(t.path[slash+1:])]
	files := 0
	for _, entry := range list {
		if !strings.HasPrefix(entry.name, prefix) || prefix == "" && entry.name[0] == '.' {
			continue
		}
		tail := ""
		if k.leadsToDir(nodes[0], entry) {
			tail = "/"
		} else {
			files++
		}
		k.add(head+escapeGlob(entry.name)+tail, "")
	}
	if files == len(k.lines) && files > 0 {
		k.then = ""
	}
}

// leadsToDir reports whether an entry is a directory, or a link to one.
func (k *completer) leadsToDir(dir *node, entry listed) bool {
	switch entry.kind {
	case disk.FileTypeDir:
		return true
	case disk.FileTypeSymlink, disk.FileTypeUnknown:
		inode, err := dir.img.fs.Lookup(joinPath(strings.TrimSuffix(dir.path, "/"), entry.name))
		return err == nil && inode.IsDir()
	}
	return false
}
