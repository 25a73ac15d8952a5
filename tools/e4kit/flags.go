package main

import (
	"github.com/urfave/cli/v2"
)

// openFlags are the global flags that say how to open an image.
type openFlags struct {
	partition       string
	offset          int64
	hasOffset       bool
	journal         string
	noJournal       bool
	ignoreChecksums bool
	cache           int64
	noGlob          bool
}

const globalCategory = "Flags of every command"

// globalFlags returns the flags that every command takes. They may also stand
// before the command's name.
func globalFlags() []cli.Flag {
	flags := []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print JSON, one object per line for lists"},
		&cli.StringFlag{Name: "partition", Usage: "take partition `N|NAME|OFFSET` of a disk image"},
		&cli.StringFlag{Name: "offset", Usage: "the file system starts at byte `N` of the image"},
		&cli.StringFlag{Name: "journal", Usage: "the external journal is `DEVICE`"},
		&cli.BoolFlag{Name: "no-journal", Usage: "do not replay the journal: show what is in place on the disk"},
		&cli.BoolFlag{Name: "ignore-checksums", Usage: "read on where a checksum is wrong"},
		&cli.StringFlag{Name: "cache", Usage: "keep at most `SIZE` of metadata in memory (default 64M)"},
		&cli.BoolFlag{Name: "no-glob", Usage: "take *, ?, [ and \\ in paths literally"},
	}
	for _, f := range flags {
		switch f := f.(type) {
		case *cli.BoolFlag:
			f.Category = globalCategory
		case *cli.StringFlag:
			f.Category = globalCategory
		}
	}
	return flags
}

// sharedFlags are the global flags that a command takes: what makes images opens
// none, and has other uses for some of the names.
func sharedFlags(c *cli.Command) []cli.Flag {
	switch c.Category {
	case categoryProgram:
		return nil
	case categoryMake:
		return globalFlags()[:1] // --json
	case categoryMount:
		return mountFlagsOf(c.Name)
	}
	return globalFlags()
}

// readGlobalFlags keeps the global flags in e.
func (e *env) readGlobalFlags(c *cli.Context) error {
	e.json = c.Bool("json")
	e.flags = openFlags{
		partition:       c.String("partition"),
		journal:         c.String("journal"),
		noJournal:       c.Bool("no-journal"),
		ignoreChecksums: c.Bool("ignore-checksums"),
		noGlob:          c.Bool("no-glob"),
	}
	var err error
	if s := c.String("offset"); s != "" {
		e.flags.hasOffset = true
		if e.flags.offset, err = parseSize(s); err != nil {
			return e.usagef("--offset: %v", err)
		}
	}
	if s := c.String("cache"); s != "" {
		if e.flags.cache, err = parseSize(s); err != nil || e.flags.cache == 0 {
			return e.usagef("--cache %s: want a size such as 64M", s)
		}
	}
	if e.flags.hasOffset && e.flags.partition != "" {
		return e.usagef("--offset and --partition exclude each other")
	}
	if e.flags.journal != "" && e.flags.noJournal {
		return e.usagef("--journal and --no-journal exclude each other")
	}
	return nil
}
