package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
)

func recoverCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "recover",
		Usage:     "replay the journal and clean up orphans",
		ArgsUsage: "IMAGE...",
		Category:  categoryChange,
		Description: `Does what a mount does after an unclean stop, and nothing more: writes what the
journal holds to its place, resets the journal, deletes the files that were open
without a name and completes truncations. A clean image stays as it is. It is no
check: what is damaged otherwise stays so.

Status 0 says that the image is recovered now, whether or not there was anything
to do.

Examples:
  e4kit recover disk.img
  e4kit recover --json disk.img
  e4kit recover --dry-run disk.img`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "change nothing, tell what the journal holds"},
			&cli.BoolFlag{Name: "yes", Usage: "write to a block device too"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			for _, name := range c.Args().Slice() {
				if err := e.recoverImage(name); err != nil {
					if e.ctx.Err() != nil {
						return err
					}
					e.fail(at(name, "", err))
					continue
				}
				e.did()
			}
			return nil
		},
	}
}

// recovered is what a recovery found, also in JSON.
type recovered struct {
	Image            string `json:"image"`
	Needed           bool   `json:"needed"` // the journal was to be replayed
	Transactions     int    `json:"transactions"`
	Blocks           int    `json:"blocks"`
	FastCommits      int    `json:"fast_commits"`
	OrphansDeleted   int    `json:"orphans_deleted"`
	OrphansTruncated int    `json:"orphans_truncated"`
	OrphansBad       int    `json:"orphans_bad"`
	JournalError     int32  `json:"journal_error"`
}

func newRecovered(name string, r ext4fs.RecoverReport) recovered {
	out := recovered{
		Image: name, Blocks: r.Blocks, FastCommits: r.FastCommits, OrphansDeleted: r.Orphans.Deleted,
		OrphansTruncated: r.Orphans.Truncated, OrphansBad: len(r.Orphans.Bad), JournalError: r.JournalError,
	}
	if r.Journal != nil {
		out.Needed, out.Transactions = r.Journal.Needed, len(r.Journal.Transactions)
	}
	return out
}

// String is a sentence, without the image's name.
func (r recovered) String() string {
	var parts []string
	if r.Needed {
		text := fmt.Sprintf("journal replayed: %s, %s", counted(r.Transactions, "transaction"), counted(r.Blocks, "block"))
		if r.FastCommits > 0 {
			text += ", " + counted(r.FastCommits, "fast commit record")
		}
		parts = append(parts, text)
	}
	if r.OrphansDeleted > 0 {
		parts = append(parts, counted(r.OrphansDeleted, "orphan")+" deleted")
	}
	if r.OrphansTruncated > 0 {
		parts = append(parts, counted(r.OrphansTruncated, "truncation")+" completed")
	}
	if r.OrphansBad > 0 {
		parts = append(parts, counted(r.OrphansBad, "bad orphan entry")+" dropped")
	}
	if r.JournalError != 0 {
		parts = append(parts, fmt.Sprintf("the journal had been aborted with error %d", -r.JournalError))
	}
	if len(parts) == 0 {
		return "clean, nothing to recover"
	}
	return strings.Join(parts, "; ")
}

// counted is a number with its noun.
func counted[T int | int64](n T, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "y"):
		return fmt.Sprintf("%d %sies", n, noun[:len(noun)-1])
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// recoverImage opens an image for writing, and leaves it clean.
func (e *env) recoverImage(name string) error {
	img, err := e.open(name)
	if err != nil {
		return err
	}
	r := newRecovered(name, img.fs.Recovered())
	if e.dry {
		if j := img.fs.Recovery(); j != nil {
			r.Needed, r.Transactions, r.FastCommits = j.Needed, len(j.Transactions), len(j.FastCommits)
		}
	}
	bad := img.fs.Recovered().Orphans.Bad
	err = img.fs.Close()
	e.dropImage(name)
	if err != nil {
		return err
	}
	for _, b := range bad {
		e.note("%s: warning: %v", name, b)
	}
	if e.json {
		return e.writeJSON(r)
	}
	text := r.String()
	if e.dry && r.Needed {
		text = "would be replayed: " + counted(r.Transactions, "transaction")
	}
	if _, err := fmt.Fprintf(e.writer(), "%s: %s\n", e.shown(name), text); err != nil {
		return err
	}
	return e.endLine()
}
