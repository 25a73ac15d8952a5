package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
)

// statusDiffer and statusTrouble are those of diff(1); what has a status of
// its own (a damaged image, an unknown feature) keeps it.
const (
	statusDiffer  = statusError(1)
	statusTrouble = statusError(2)
)

func diffCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "compare two images, or two trees in images",
		ArgsUsage: "IMAGE[:/PATH] IMAGE[:/PATH]",
		Category:  categoryVerify,
		Description: `Compares two trees by their manifests (see 'e4kit help hash') and prints what
is only in the first (-), only in the second (+), and what changed (!).

Exit status: 0 they are equal, 1 they differ, 2 they could not be compared,
3 and more as for every command.

Examples:
  e4kit diff before.img after.img
  e4kit diff --ignore mtime,links a.img:/etc b.img:/etc`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "ignore", Usage: "do not compare `FIELDS`: mode, uid, gid, links, size, mtime, data, xattrs"},
			&cli.BoolFlag{Name: "brief", Aliases: []string{"q"}, Usage: "print nothing, only tell by the exit status"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 2, 2); err != nil {
				return err
			}
			return runDiff(e, c.Args().Get(0), c.Args().Get(1), c.String("ignore"), c.Bool("brief"))
		},
	}
}

// diffRecord is one difference in JSON.
type diffRecord struct {
	Change string               `json:"change"` // removed, added, changed
	Path   string               `json:"path"`   // escaped as in the manifest
	Fields map[string][2]string `json:"fields,omitempty"`
}

// diffFields are the fields that are compared.
var diffFields = []struct {
	name  string
	value func(*ext4fs.ManifestLine) string
}{
	{"type", func(l *ext4fs.ManifestLine) string { return l.Type }},
	{"mode", func(l *ext4fs.ManifestLine) string { return l.Mode }},
	{"uid", func(l *ext4fs.ManifestLine) string { return utoa(uint64(l.UID)) }},
	{"gid", func(l *ext4fs.ManifestLine) string { return utoa(uint64(l.GID)) }},
	{"links", func(l *ext4fs.ManifestLine) string { return l.Links }},
	{"size", func(l *ext4fs.ManifestLine) string { return l.Size }},
	{"mtime", func(l *ext4fs.ManifestLine) string { return l.Mtime }},
	{"data", func(l *ext4fs.ManifestLine) string { return l.Data }},
	{"xattrs", func(l *ext4fs.ManifestLine) string { return l.Xattrs }},
}

func runDiff(e *env, first, second, ignore string, brief bool) error {
	var ignored []string
	if ignore != "" {
		ignored = strings.Split(ignore, ",")
	}
	for _, name := range ignored {
		if !slices.ContainsFunc(diffFields, func(f struct {
			name  string
			value func(*ext4fs.ManifestLine) string
		}) bool {
			return f.name == name
		}) {
			return e.usagef("--ignore: unknown field %q", name)
		}
	}
	_, a, err := e.manifest(first)
	if err != nil {
		return diffTrouble(e, err)
	}
	_, b, err := e.manifest(second)
	if err != nil {
		return diffTrouble(e, err)
	}
	d := differ{e: e, ignored: ignored, brief: brief}
	if err := d.compare(a, b); err != nil {
		return err
	}
	if d.count > 0 && e.failed.count == 0 {
		return statusDiffer
	}
	return nil
}

// diffTrouble turns a plain failure, which would read as "they differ", into
// status 2.
func diffTrouble(e *env, err error) error {
	if exitCode(err) != exitFailed {
		return err
	}
	e.fail(err)
	if e.json {
		e.writeJSON(e.finalError(err, int(statusTrouble)))
	}
	return statusTrouble
}

type differ struct {
	e       *env
	ignored []string
	brief   bool
	count   int
}

// compare merges two sorted manifests.
func (d *differ) compare(a, b []*ext4fs.ManifestLine) error {
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = strings.Compare(a[0].Path+" ", b[0].Path+" ")
		}
		var r *diffRecord
		switch {
		case order < 0:
			r = &diffRecord{Change: "removed", Path: a[0].Path}
			a = a[1:]
		case order > 0:
			r = &diffRecord{Change: "added", Path: b[0].Path}
			b = b[1:]
		default:
			r = d.changed(a[0], b[0])
			a, b = a[1:], b[1:]
		}
		if r == nil {
			continue
		}
		d.count++
		if err := d.print(r); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) changed(a, b *ext4fs.ManifestLine) *diffRecord {
	var r *diffRecord
	for _, f := range diffFields {
		x, y := f.value(a), f.value(b)
		if x == y || slices.Contains(d.ignored, f.name) {
			continue
		}
		if r == nil {
			r = &diffRecord{Change: "changed", Path: a.Path, Fields: make(map[string][2]string)}
		}
		r.Fields[f.name] = [2]string{x, y}
	}
	return r
}

func (d *differ) print(r *diffRecord) error {
	if d.brief {
		return nil
	}
	if d.e.json {
		return d.e.writeJSON(r)
	}
	w, st := d.e.writer(), d.e.styles()
	switch r.Change {
	case "removed":
		w.WriteString(st.bad.text("- " + r.Path))
	case "added":
		w.WriteString(st.good.text("+ " + r.Path))
	default:
		w.WriteString(st.warn.text("! " + r.Path))
		for _, f := range diffFields {
			if v, ok := r.Fields[f.name]; ok {
				fmt.Fprintf(w, " %s %s -> %s", f.name, short(v[0]), short(v[1]))
			}
		}
	}
	w.WriteByte('\n')
	return d.e.endLine()
}

// short cuts long values, which are digests mostly.
func short(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
