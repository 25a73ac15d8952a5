package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func helpCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "explain a command",
		ArgsUsage: "[COMMAND]",
		Category:  categoryProgram,
		Description: `Without a COMMAND, lists all of them.

Examples:
  e4kit help
  e4kit help cp`,
		Action: func(c *cli.Context) error { return writeHelp(e, c.App, c.Args().Slice()) },
	}
}

// writeHelp explains the command that path names; an empty path is the
// program.
func writeHelp(e *env, app *cli.App, path []string) error {
	w, st := e.writer(), newStyles(useColor(e.getenv, e.outTTY))
	if len(path) == 0 {
		writeProgramHelp(w, st, app)
		return nil
	}
	c, err := findCommandPath(app, path)
	if err != nil {
		return err
	}
	writeCommandHelp(w, st, c, strings.Join(path, " "))
	return nil
}

func findCommandPath(app *cli.App, path []string) (*cli.Command, error) {
	c := app.Command(path[0])
	if c == nil {
		return nil, &usageError{"", fmt.Sprintf("unknown command %q%s", path[0], suggestion(path[0], commandNames(app.Commands)))}
	}
	for _, name := range path[1:] {
		sub := c.Command(name)
		if sub == nil {
			return nil, &usageError{c.Name, fmt.Sprintf("unknown command %q", c.Name+" "+name)}
		}
		c = sub
	}
	return c, nil
}

func writeProgramHelp(w io.Writer, st *styles, app *cli.App) {
	fmt.Fprintf(w, "%s - %s\n\n%s\n", st.bold.text("e4kit"), app.Usage, programUsage)
	width := 0
	for _, name := range commandNames(app.Commands) {
		width = max(width, len(name))
	}
	for _, category := range categories(app.Commands) {
		fmt.Fprintf(w, "\n%s:\n", st.bold.text(category))
		for _, c := range app.Commands {
			if c.Category == category && !c.Hidden {
				fmt.Fprintf(w, "  %-*s  %s\n", width, c.Name, c.Usage)
			}
		}
	}
	fmt.Fprintf(w, "\n%s:\n", st.bold.text(globalCategory))
	writeFlags(w, append(globalFlags(), helpFlag()))
	fmt.Fprintf(w, "\n%s\n", programNotes)
}

const programUsage = `Usage: e4kit COMMAND [FLAGS] ARGUMENTS
  IMAGE:/path    names a file in an image
  IMAGE:<12>     names an inode
  IMAGE:/etc/*   globs are expanded in the image; quote them`

const programNotes = `IMAGE may be a raw image, a block device, a disk with partitions, or (for
reading) a .gz, .zst, .xz or Android sparse image. An image whose journal waits
for recovery is shown as it would be after recovery. Only the commands that change
images write to them: through the journal, so that an image is consistent at every
moment, whatever happens.

Exit status: 0 done, 1 failed, 2 usage, 3 partly done, 4 image corrupt,
5 unsupported feature, 130 interrupted.

'e4kit help COMMAND' explains a command, with examples.`

// categories returns the categories in use, in the order of the commands.
func categories(commands []*cli.Command) []string {
	var names []string
	for _, c := range commands {
		if !c.Hidden && !slices.Contains(names, c.Category) {
			names = append(names, c.Category)
		}
	}
	return names
}

func writeCommandHelp(w io.Writer, st *styles, c *cli.Command, name string) {
	fmt.Fprintf(w, "%s - %s\n\nUsage: %s\n", st.bold.text("e4kit "+name), c.Usage, usageLine(c, name))
	if c.Description != "" {
		fmt.Fprintf(w, "\n%s\n", c.Description)
	}
	if subs := subcommandNames(c); len(subs) > 0 {
		fmt.Fprintf(w, "\n%s:\n", st.bold.text("Commands"))
		for _, sub := range c.Subcommands {
			if !sub.Hidden {
				fmt.Fprintf(w, "  %-12s  %s\n", sub.Name, sub.Usage)
			}
		}
	}
	own, global := splitFlags(c.Flags)
	if len(own) > 0 {
		fmt.Fprintf(w, "\n%s:\n", st.bold.text("Flags"))
		writeFlags(w, own)
	}
	if len(global) > 0 {
		fmt.Fprintf(w, "\n%s:\n", st.bold.text(globalCategory))
		writeFlags(w, append(global, helpFlag()))
	}
}

// helpFlag is in no list that cli sees: the normalizer takes it.
func helpFlag() cli.Flag { return &cli.BoolFlag{Name: "help", Usage: "explain the command"} }

func usageLine(c *cli.Command, name string) string {
	line := "e4kit " + name
	if len(c.Subcommands) > 0 && c.Action == nil {
		line += " COMMAND"
	}
	if own, _ := splitFlags(c.Flags); len(own) > 0 {
		line += " [FLAGS]"
	}
	if c.ArgsUsage != "" {
		line += " " + c.ArgsUsage
	}
	return line
}

// splitFlags separates a command's own flags from those of every command.
func splitFlags(flags []cli.Flag) (own, global []cli.Flag) {
	for _, f := range flags {
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		if cf, ok := f.(cli.CategorizableFlag); ok && cf.GetCategory() == globalCategory {
			global = append(global, f)
			continue
		}
		own = append(own, f)
	}
	return own, global
}

func writeFlags(w io.Writer, flags []cli.Flag) {
	const column = 26
	for _, f := range flags {
		head, usage := flagHead(f)
		if len(head) > column-4 {
			fmt.Fprintf(w, "  %s\n%*s%s\n", head, column, "", usage)
			continue
		}
		fmt.Fprintf(w, "  %-*s%s\n", column-2, head, usage)
	}
}

// flagHead is "-o, --output FILE" and the usage without the quotes around the
// placeholder.
func flagHead(f cli.Flag) (head, usage string) {
	doc, _ := f.(cli.DocGenerationFlag)
	usage = doc.GetUsage()
	placeholder := ""
	if before, rest, ok := strings.Cut(usage, "`"); ok {
		if name, after, ok := strings.Cut(rest, "`"); ok {
			placeholder, usage = name, before+name+after
		}
	}
	var names, long []string
	for _, name := range f.Names() {
		if len(name) == 1 {
			names = append(names, "-"+name)
		} else {
			long = append(long, "--"+name)
		}
	}
	names = append(names, long...)
	head = strings.Join(names, ", ")
	if len(names[0]) > 2 {
		head = "    " + head
	}
	if takesValue(f) {
		if placeholder == "" {
			placeholder = "VALUE"
		}
		head += " " + placeholder
	}
	return head, usage
}
