package main

import (
	"crypto/sha256"
	enchex "encoding/hex"
	"fmt"
	"io/fs"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
)

func hashCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "hash",
		Usage:     "print a manifest of a tree: type, mode, owner, size, content digest, attributes",
		ArgsUsage: "IMAGE[:/PATH]",
		Category:  categoryVerify,
		Description: `Prints a line for each path, sorted by path:

  PATH TYPE MODE UID GID LINKS SIZE MTIME DATA XATTRS

DATA is the SHA-256 of a file's content, a link's target or a device's number;
of files above 64 MiB the digest takes only what is not zero. What may differ
between a tree and a true copy is left out: inode numbers, places, times of access
and change. Equal trees give equal manifests.

Examples:
  e4kit hash disk.img >manifest
  e4kit hash --sum disk.img:/usr
  e4kit hash --json disk.img | jq -r 'select(.type == "file") | .digest'`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "sum", Usage: "only the SHA-256 of the manifest"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, 1); err != nil {
				return err
			}
			return runHash(e, c.Args().First(), c.Bool("sum"))
		},
	}
}

// sumRecord is the digest of a manifest in JSON.
type sumRecord struct {
	Image string `json:"image"`
	jsonPath
	SHA256 string `json:"sha256"`
	Paths  int    `json:"paths"`
}

// hashRecord is a line of a manifest in JSON. Directories have no links and
// size here: they are a matter of layout.
type hashRecord struct {
	Image string `json:"image"`
	jsonPath
	Type   string  `json:"type"`
	Mode   string  `json:"mode,omitempty"`
	UID    uint32  `json:"uid"`
	GID    uint32  `json:"gid"`
	Links  *uint16 `json:"links,omitempty"`
	Size   *int64  `json:"size,omitempty"`
	Mtime  string  `json:"mtime,omitempty"`
	Digest string  `json:"digest,omitempty"` // of the content
	*jsonTarget
	Major  *uint32  `json:"major,omitempty"`
	Minor  *uint32  `json:"minor,omitempty"`
	Xattrs []string `json:"xattrs,omitempty"` // as in the text form
	Error  string   `json:"error,omitempty"`
}

func newHashRecord(image string, l *ext4fs.ManifestLine) *hashRecord {
	r := &hashRecord{Image: image, jsonPath: newJSONPath(l.RawPath), Type: "unknown", UID: l.UID, GID: l.GID}
	if err := l.Err(); err != nil {
		r.Error = err.Error()
	}
	st := l.Stat
	if st == nil {
		return r
	}
	r.Type, r.Mode, r.Mtime = typeWord(st.RawMode), l.Mode, jsonTime(st.Mtime)
	if !st.Mode.IsDir() {
		r.Links, r.Size = &st.Links, &st.Size
	}
	switch {
	case st.Mode.IsRegular() && !strings.HasPrefix(l.Data, "!"):
		r.Digest = l.Data
	case st.Mode&fs.ModeSymlink != 0:
		target := newJSONTarget(l.Target)
		r.jsonTarget = &target
	case st.Mode&fs.ModeDevice != 0:
		r.Major, r.Minor = &st.Major, &st.Minor
	}
	if l.Xattrs != "-" && l.Xattrs != "!" {
		r.Xattrs = strings.Split(l.Xattrs, ",")
	}
	return r
}

func runHash(e *env, arg string, sum bool) error {
	n, lines, err := e.manifest(arg)
	if err != nil {
		return err
	}
	h := sha256.New()
	for _, line := range lines {
		switch {
		case sum:
			h.Write([]byte(line.String() + "\n"))
		case e.json:
			err = e.writeJSON(newHashRecord(n.img.name, line))
		default:
			_, err = e.writer().WriteString(line.String() + "\n")
		}
		if err != nil {
			return err
		}
	}
	if !sum {
		return nil
	}
	digest := enchex.EncodeToString(h.Sum(nil))
	if e.json {
		return e.writeJSON(sumRecord{n.img.name, newJSONPath(n.path), digest, len(lines)})
	}
	_, err = fmt.Fprintf(e.writer(), "%s  %s\n", digest, e.shown(n.String()))
	return err
}

// manifest takes the manifest of what an argument names. Paths that could not
// be read are reported.
func (e *env) manifest(arg string) (*node, []*ext4fs.ManifestLine, error) {
	n, err := e.resolveOne(arg, followLast)
	if err != nil {
		return nil, nil, err
	}
	lines, err := n.img.fs.Manifest(e.ctx, n.inode)
	if err != nil {
		return nil, nil, at(n.img.name, n.path, err)
	}
	for _, line := range lines {
		if err := line.Err(); err != nil {
			e.fail(at(n.img.name, manifestPath(n.path, line.Path), err))
			continue
		}
		e.did()
	}
	return n, lines, nil
}

// manifestPath is a manifest's path below where it starts.
func manifestPath(start, path string) string {
	if path == "/" {
		return start
	}
	return joinPath(start, path[1:])
}
