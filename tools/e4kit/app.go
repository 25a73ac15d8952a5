package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
)

const programSummary = "an offline toolkit for ext2, ext3 and ext4 images"

// Categories of the command list.
const (
	categoryLook    = "Look around"
	categoryTake    = "Take out, put in"
	categoryMake    = "Make"
	categoryMount   = "Mount"
	categoryChange  = "Change"
	categoryVerify  = "Verify and compare"
	categoryInside  = "Look inside"
	categoryProgram = "The program"
)

// A verb is a command by its name; make builds it with its flags.
type verb struct {
	name string
	make func(*env) *cli.Command
}

// verbs lists every command, in the order that the help shows.
func verbs() []verb {
	return []verb{
		{"info", infoCommand},
		{"ls", lsCommand},
		{"tree", treeCommand},
		{"find", findCommand},
		{"stat", statCommand},
		{"du", duCommand},
		{"df", dfCommand},
		{"cat", catCommand},
		{"readlink", readlinkCommand},
		{"cp", cpCommand},
		{"tar", tarCommand},
		{"mkfs", mkfsCommand},
		{"mount", mountCommand},
		{"umount", umountCommand},
		{"status", statusCommand},
		{"commit-overlay", commitOverlayCommand},
		{"mkdir", mkdirCommand},
		{"rm", rmCommand},
		{"rmdir", rmdirCommand},
		{"mv", mvCommand},
		{"ln", lnCommand},
		{"touch", touchCommand},
		{"chmod", chmodCommand},
		{"chown", chownCommand},
		{"truncate", truncateCommand},
		{"fallocate", fallocateCommand},
		{"mknod", mknodCommand},
		{"chattr", chattrCommand},
		{"setfattr", setfattrCommand},
		{"setfacl", setfaclCommand},
		{"label", labelCommand},
		{"uuid", uuidCommand},
		{"recover", recoverCommand},
		{"xattr", xattrCommand},
		{"acl", aclCommand},
		{"hash", hashCommand},
		{"diff", diffCommand},
		{"verity", verityCommand},
		{"extents", extentsCommand},
		{"freespace", freespaceCommand},
		{"dump", dumpCommand},
		{"help", helpCommand},
		{"completion", completionCommand},
		{"man", manCommand},
		{"__complete", completeCommand},
	}
}

// verbNames are the words that commands have.
func verbNames() []string {
	var names []string
	for _, v := range verbs() {
		names = append(names, v.name)
	}
	return names
}

// aboutAll are the commands that tell of the others.
var aboutAll = []string{"help", "man", "completion", "__complete"}

// commandsFor builds the commands that words can be about: the one they begin
// with, or all of them. Building all takes longer than many a command runs.
func commandsFor(e *env, words []string) []*cli.Command {
	if len(words) == 0 {
		return allCommands(e)
	}
	if isVersion(words[0]) {
		return nil
	}
	if !slices.Contains(aboutAll, words[0]) {
		for _, v := range verbs() {
			if v.name == words[0] {
				return []*cli.Command{v.make(e)}
			}
		}
	}
	return allCommands(e)
}

func allCommands(e *env) []*cli.Command {
	var all []*cli.Command
	for _, v := range verbs() {
		all = append(all, v.make(e))
	}
	return all
}

// noHelpFlag takes away cli's own -h, which would make 'ls -h' print help.
var noHelpFlag = sync.OnceFunc(func() { cli.HelpFlag = nil })

// newApp builds the command tree. cli parses flags and calls the action;
// help, errors and exit status are ours.
func newApp(e *env, commands []*cli.Command) *cli.App {
	noHelpFlag()
	app := &cli.App{
		Name:                      "e4kit",
		Usage:                     programSummary,
		HideHelp:                  true,
		HideHelpCommand:           true,
		HideVersion:               true,
		Writer:                    io.Discard,
		ErrWriter:                 io.Discard,
		ExitErrHandler:            func(*cli.Context, error) {},
		DisableSliceFlagSeparator: true,
		Compiled:                  time.Unix(0, 0), // else cli asks for the time of our file
		Commands:                  commands,
	}
	for _, c := range app.Commands {
		finishCommand(e, c, c.Name)
	}
	setUp(app)
	return app
}

// setUp lets cli prepare itself without flags in sight: it would make texts of
// all that have a category, for a help that is not its own.
func setUp(app *cli.App) {
	flags := make([][]cli.Flag, len(app.Commands))
	for i, c := range app.Commands {
		flags[i], c.Flags = c.Flags, nil
	}
	app.Setup()
	for i, c := range app.Commands {
		c.Flags = flags[i]
	}
}

// finishCommand gives a command what all of them share.
func finishCommand(e *env, c *cli.Command, name string) {
	c.HideHelp = true
	c.HideHelpCommand = true
	c.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
		return &usageError{name, strings.Replace(err.Error(), "flag -", "flag --", 1)}
	}
	for _, sub := range c.Subcommands {
		finishCommand(e, sub, name+" "+sub.Name)
	}
	c.Flags = append(c.Flags, sharedFlags(c)...)
	if !slices.Contains(aboutAll, name) {
		// When flags are parsed, cli searches all names of flags for each of
		// them, for what to call when one is set. There is nothing to call.
		c.Before = func(ctx *cli.Context) error {
			ctx.Command.Flags = nil
			return nil
		}
	}
	if action := c.Action; action != nil {
		c.Action = func(ctx *cli.Context) error {
			e.verb = name
			if err := e.readGlobalFlags(ctx); err != nil {
				return err
			}
			return action(ctx)
		}
	}
}

// run is the whole program: words in, exit status out.
func run(e *env, words []string) int {
	app := newApp(e, commandsFor(e, words))
	inv, err := normalize(app, words)
	if err != nil {
		e.json = wantsJSON(words)
		return e.finish(err)
	}
	switch {
	case inv.version:
		_, err = fmt.Fprintf(e.writer(), "e4kit %s\n", version())
		return e.finish(err)
	case inv.help:
		return e.finish(writeHelp(e, app, inv.path))
	}
	err = app.RunContext(e.ctx, inv.argv)
	if closeErr := e.closeImages(); err == nil {
		err = closeErr
	}
	if err != nil && e.ctx.Err() != nil && !isPipe(err) {
		err = interruption{e.doneSoFar()}
	}
	return e.finish(err)
}

// wantsJSON finds the flag in a command line that could not be understood, so
// that even then the error comes in the form that was asked for.
func wantsJSON(words []string) bool {
	for _, w := range words {
		switch w {
		case "--":
			return false
		case "--json", "--json=true":
			return true
		}
	}
	return false
}

// wantArgs checks the number of arguments; max < 0 is no bound.
func wantArgs(c *cli.Context, e *env, low, high int) error {
	n := c.Args().Len()
	switch {
	case n < low:
		return &usageError{e.verb, "missing argument: " + c.Command.ArgsUsage}
	case high >= 0 && n > high:
		return &usageError{e.verb, fmt.Sprintf("too many arguments: %q", c.Args().Get(high))}
	}
	return nil
}

// usagef is a usage error of the running verb.
func (e *env) usagef(format string, args ...any) error {
	return &usageError{e.verb, fmt.Sprintf(format, args...)}
}
