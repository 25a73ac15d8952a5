package main

import (
	enchex "encoding/hex"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/verity"
)

func verityCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "verity",
		Usage:     "check fs-verity files against their hash trees",
		ArgsUsage: "IMAGE[:/PATH]...",
		Category:  categoryVerify,
		Description: `Reads verity files and checks content and hash tree, block by block, and the
root hash that the content gives. A directory is searched for verity files.
Prints the digest in the form of 'fsverity measure'. Signatures are not checked.
Exit status 4 means that a file does not fit its root hash.

Examples:
  e4kit verity system.img:/app/base.apk
  e4kit verity system.img`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return runVerity(e, c.Args().Slice())
		},
	}
}

// verityRecord is a file's check in JSON.
type verityRecord struct {
	Image string `json:"image"`
	jsonPath
	Digest    string   `json:"digest"`
	OK        bool     `json:"ok"`
	ContentOK bool     `json:"content_ok"`
	RootHash  string   `json:"root_hash"`
	Computed  string   `json:"computed"`
	Blocks    int64    `json:"blocks"`
	Failed    int64    `json:"failed"`
	Failures  []string `json:"failures,omitempty"`
}

func runVerity(e *env, args []string) error {
	nodes, err := e.resolveAll(args, followLast)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if !n.inode.IsDir() {
			if err := e.verity(n); err != nil {
				return err
			}
			continue
		}
		found := false
		err := e.eachBelow(n, func(n *node) error {
			if !n.inode.IsRegular() || !n.inode.Flags().Has(disk.FlagVerity) {
				return nil
			}
			found = true
			return e.verity(n)
		})
		if err != nil {
			return err
		}
		if !found {
			e.did()
			e.note("%s: no verity files", n)
		}
	}
	return nil
}

func (e *env) verity(n *node) error {
	r, err := n.inode.Verity(e.ctx, verity.Options{})
	if err != nil {
		if e.ctx.Err() != nil {
			return err
		}
		e.failAt(n, err)
		return nil
	}
	if r.OK() {
		e.did()
	} else {
		e.failAt(n, verityFailure(r))
	}
	if e.json {
		j := verityRecord{
			Image: n.img.name, jsonPath: newJSONPath(n.path), Digest: r.Digest, OK: r.OK(), ContentOK: r.ContentOK(),
			RootHash: enchex.EncodeToString(r.RootHash), Computed: enchex.EncodeToString(r.Computed),
			Blocks: r.Blocks, Failed: r.Failed,
		}
		for _, f := range r.Failures {
			j.Failures = append(j.Failures, f.String())
		}
		return e.writeJSON(j)
	}
	word := e.styles().good.text("good")
	if !r.OK() {
		word = e.styles().bad.text("bad")
	}
	if _, err := fmt.Fprintf(e.writer(), "%s %s %s\n", r.Digest, word, e.shown(n.path)); err != nil {
		return err
	}
	return e.endLine()
}

// verityFailure is the error of a file that does not fit.
func verityFailure(r *ext4fs.VerityReport) error {
	what := "the content does not have the root hash"
	if r.ContentOK() {
		what = "the content has the root hash, but the stored tree is damaged"
	}
	if len(r.Failures) > 0 {
		what += fmt.Sprintf("; %d of %d blocks do not fit, the first: %s", r.Failed, r.Blocks, r.Failures[0])
	}
	return fmt.Errorf("%w: %s", disk.ErrChecksum, what)
}
