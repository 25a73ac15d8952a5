package main

import (
	"fmt"
	"io"
	"strings"
	"sync"

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

// verbs lists every command, in the order that the help shows.
func verbs(e *env) []*cli.Command {
	return []*cli.Command{
		infoCommand(e),
		lsCommand(e),
		treeCommand(e),
		findCommand(e),
		statCommand(e),
		duCommand(e),
		dfCommand(e),
		catCommand(e),
		readlinkCommand(e),
		cpCommand(e),
		tarCommand(e),
		mkfsCommand(e),
		mountCommand(e),
		umountCommand(e),
		statusCommand(e),
		commitOverlayCommand(e),
		mkdirCommand(e),
		rmCommand(e),
		rmdirCommand(e),
		mvCommand(e),
		lnCommand(e),
		touchCommand(e),
		chmodCommand(e),
		chownCommand(e),
		truncateCommand(e),
		fallocateCommand(e),
		mknodCommand(e),
		chattrCommand(e),
		setfattrCommand(e),
		setfaclCommand(e),
		labelCommand(e),
		uuidCommand(e),
		recoverCommand(e),
		xattrCommand(e),
		aclCommand(e),
		hashCommand(e),
		diffCommand(e),
		verityCommand(e),
		extentsCommand(e),
		freespaceCommand(e),
		dumpCommand(e),
		helpCommand(e),
		completionCommand(e),
		manCommand(e),
		completeCommand(e),
	}
}

// noHelpFlag takes away cli's own -h, which would make 'ls -h' print help.
var noHelpFlag = sync.OnceFunc(func() { cli.HelpFlag = nil })

// newApp builds the command tree. cli parses flags and calls the action;
// help, errors and exit status are ours.
func newApp(e *env) *cli.App {
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
		Commands:                  verbs(e),
	}
	for _, c := range app.Commands {
		finishCommand(e, c, c.Name)
	}
	return app
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
	app := newApp(e)
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
