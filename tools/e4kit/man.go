package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
)

func manCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "man",
		Usage:     "write the manual pages",
		ArgsUsage: "[DIRECTORY]",
		Category:  categoryProgram,
		Hidden:    true,
		Description: `Writes e4kit.1 and a page for each command into DIRECTORY, or e4kit.1 to
standard output.

Examples:
  e4kit man build/man
  e4kit man | man -l -`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 0, 1); err != nil {
				return err
			}
			if c.Args().Len() == 0 {
				writeProgramPage(e.writer(), c.App)
				return nil
			}
			return writeManPages(c.App, c.Args().First())
		},
	}
}

// writeManPages writes all pages into a directory, which is made if needed.
func writeManPages(app *cli.App, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return hostError(err)
	}
	page := func(name string, write func(io.Writer)) error {
		var b strings.Builder
		write(&b)
		return hostError(os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o666))
	}
	if err := page("e4kit.1", func(w io.Writer) { writeProgramPage(w, app) }); err != nil {
		return err
	}
	for _, c := range app.Commands {
		if c.Hidden {
			continue
		}
		if err := page("e4kit-"+c.Name+".1", func(w io.Writer) { writeCommandPage(w, c) }); err != nil {
			return err
		}
	}
	return nil
}

func writeProgramPage(w io.Writer, app *cli.App) {
	manHead(w, "e4kit", programSummary)
	fmt.Fprintf(w, ".SH SYNOPSIS\n.B e4kit\n.I COMMAND\n[\\fIFLAGS\\fR] \\fIARGUMENTS\\fR\n")
	fmt.Fprintf(w, ".SH DESCRIPTION\n")
	roffText(w, strings.Join(strings.Split(programUsage, "\n")[1:], "\n"))
	fmt.Fprint(w, ".PP\n")
	roffText(w, programNotes)
	fmt.Fprintf(w, ".SH COMMANDS\n")
	for _, c := range app.Commands {
		if !c.Hidden {
			fmt.Fprintf(w, ".TP\n.BR e4kit\\-%s (1)\n%s\n", roff(c.Name), roff(c.Usage))
		}
	}
	fmt.Fprintf(w, ".SH FLAGS OF EVERY COMMAND\n")
	roffFlags(w, globalFlags())
}

func writeCommandPage(w io.Writer, c *cli.Command) {
	manHead(w, "e4kit-"+c.Name, c.Usage)
	fmt.Fprintf(w, ".SH SYNOPSIS\n%s\n.SH DESCRIPTION\n", roff(usageLine(c, c.Name)))
	roffText(w, c.Description)
	roffCommandFlags(w, c)
	for _, sub := range c.Subcommands {
		if sub.Hidden {
			continue
		}
		name := c.Name + " " + sub.Name
		fmt.Fprintf(w, ".SH \"%s\"\n%s\n.PP\n", roff(strings.ToUpper(name)), roff(usageLine(sub, name)))
		roffText(w, sub.Description)
		own, _ := splitFlags(sub.Flags)
		roffFlags(w, own)
	}
	fmt.Fprintf(w, ".SH SEE ALSO\n.BR e4kit (1)\n")
}

func roffCommandFlags(w io.Writer, c *cli.Command) {
	if own, _ := splitFlags(c.Flags); len(own) > 0 {
		fmt.Fprintf(w, ".SH FLAGS\n")
		roffFlags(w, own)
	}
}

// manHead writes no date: pages of one commit are equal wherever they are
// made.
func manHead(w io.Writer, name, summary string) {
	fmt.Fprintf(w, ".TH \"%s\" 1 \"\" \"e4kit\" \"e4kit manual\"\n.SH NAME\n%s \\- %s\n",
		roff(strings.ToUpper(name)), roff(name), roff(summary))
}

func roffFlags(w io.Writer, flags []cli.Flag) {
	for _, f := range flags {
		head, usage := flagHead(f)
		fmt.Fprintf(w, ".TP\n\\fB%s\\fR\n%s\n", roff(strings.TrimSpace(head)), roff(usage))
	}
}

// roffText writes paragraphs; indented lines stay as they are, and a line
// that ends a paragraph start with a colon alone becomes a heading.
func roffText(w io.Writer, text string) {
	verbatim := false
	for _, line := range strings.Split(text, "\n") {
		indented := strings.HasPrefix(line, "  ")
		if indented != verbatim {
			fmt.Fprint(w, map[bool]string{true: ".PP\n.nf\n", false: ".fi\n"}[indented])
			verbatim = indented
		}
		switch {
		case line == "":
			fmt.Fprint(w, ".PP\n")
		case line == "Examples:" || line == "Example:":
			fmt.Fprint(w, ".SH EXAMPLES\n")
		default:
			fmt.Fprintln(w, roff(line))
		}
	}
	if verbatim {
		fmt.Fprint(w, ".fi\n")
	}
}

// roff escapes what the formatter would take for a request.
func roff(s string) string {
	s = strings.ReplaceAll(s, `\`, `\e`)
	s = strings.ReplaceAll(s, "-", `\-`)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
