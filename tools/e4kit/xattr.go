package main

import (
	"encoding/base64"
	enchex "encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
)

// xattrOptions are the flags of xattr.
type xattrOptions struct {
	name     string
	names    bool
	raw      bool
	encoding string
	follow   follow
	tree     bool
}

func xattrCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "xattr",
		Usage:     "list extended attributes and their values",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryLook,
		Description: `Prints the attributes of files in the form of getfattr -d, so that
setfattr --restore takes them. POSIX ACLs stand in the form of the system calls;
'e4kit acl' shows them as text. Symbolic links are not followed unless -L is
given.

Examples:
  e4kit xattr disk.img:/bin/ping
  e4kit xattr --name security.selinux --raw disk.img:/etc/shadow
  e4kit xattr -R --json disk.img | jq -r .path`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Aliases: []string{"n"}, Usage: "only the attribute `NAME`"},
			&cli.BoolFlag{Name: "names", Usage: "names without values"},
			&cli.BoolFlag{Name: "raw", Usage: "values alone, as they are"},
			&cli.StringFlag{Name: "encoding", Aliases: []string{"e"}, Usage: "values as `text, hex or base64`"},
			&cli.BoolFlag{Name: "dereference", Aliases: []string{"L"}, Usage: "follow symbolic links"},
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"R"}, Usage: "everything below as well"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			o := xattrOptions{
				name: c.String("name"), names: c.Bool("names"), raw: c.Bool("raw"), encoding: c.String("encoding"),
				follow: followIf(c.Bool("dereference")), tree: c.Bool("recursive"),
			}
			switch o.encoding {
			case "", "text", "hex", "base64":
			default:
				return e.usagef("--encoding %s: want text, hex or base64", o.encoding)
			}
			return runXattr(e, c.Args().Slice(), o)
		},
	}
}

// xattrRecord is a file's attributes in JSON.
type xattrRecord struct {
	Image string `json:"image"`
	jsonPath
	Inode  uint32      `json:"inode"`
	Xattrs []jsonXattr `json:"xattrs"`
}

// jsonXattr is an attribute in JSON: the value in base64, and as text too
// where it is one.
type jsonXattr struct {
	Name   string  `json:"name"`
	Size   int     `json:"size"`
	Text   *string `json:"text,omitempty"`
	Base64 string  `json:"base64"`
}

func runXattr(e *env, args []string, o xattrOptions) error {
	nodes, err := e.resolveAll(args, o.follow)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if !o.tree {
			if err := e.xattrs(n, o); err != nil {
				return err
			}
			continue
		}
		if err := e.eachBelow(n, func(n *node) error { return e.xattrs(n, o) }); err != nil {
			return err
		}
	}
	return nil
}

// eachBelow calls f for a file and everything below it.
func (e *env) eachBelow(n *node, f func(*node) error) error {
	w := walk{ctx: e.ctx, fs: n.img.fs, bad: func(path string, err error) { e.fail(at(n.img.name, path, err)) }}
	w.pre = func(at *walked) error {
		if at.inode == nil {
			return nil
		}
		return f(&node{img: n.img, path: at.path, inode: at.inode})
	}
	return w.run(startOf(n))
}

func (e *env) xattrs(n *node, o xattrOptions) error {
	attrs, err := n.inode.Xattrs()
	if err != nil {
		e.failAt(n, err)
	}
	if o.name != "" {
		attrs = onlyXattr(attrs, o.name)
		if len(attrs) == 0 && err == nil && !o.tree {
			e.failAt(n, fmt.Errorf("%s: %w", o.name, ext4fs.ErrNoAttr))
			return nil
		}
	}
	if err == nil {
		e.did()
	}
	if len(attrs) == 0 && (!e.json || o.tree) {
		return nil
	}
	switch {
	case e.json:
		return e.writeJSON(newXattrRecord(n, attrs))
	case o.raw:
		for _, a := range attrs {
			if _, err := e.writer().Write(a.Value); err != nil {
				return err
			}
		}
		return e.endLine()
	}
	w := e.writer()
	fmt.Fprintf(w, "# file: %s\n", octalText(strings.TrimPrefix(n.path, "/"), `\`))
	for _, a := range attrs {
		w.WriteString(octalText(a.Name, `\=`))
		if !o.names && len(a.Value) > 0 {
			w.WriteString("=" + xattrText(a.Value, o.encoding))
		} else if !o.names {
			w.WriteString(`=""`)
		}
		w.WriteByte('\n')
	}
	w.WriteByte('\n')
	return e.endLine()
}

func onlyXattr(attrs []ext4fs.Xattr, name string) []ext4fs.Xattr {
	for _, a := range attrs {
		if a.Name == name {
			return []ext4fs.Xattr{a}
		}
	}
	return nil
}

func newXattrRecord(n *node, attrs []ext4fs.Xattr) *xattrRecord {
	r := &xattrRecord{Image: n.img.name, jsonPath: newJSONPath(n.path), Inode: uint32(n.inode.Number()), Xattrs: []jsonXattr{}}
	for _, a := range attrs {
		j := jsonXattr{Name: a.Name, Size: len(a.Value), Base64: base64.StdEncoding.EncodeToString(a.Value)}
		if isText(a.Value) {
			text := strings.TrimSuffix(string(a.Value), "\x00")
			j.Text = &text
		}
		r.Xattrs = append(r.Xattrs, j)
	}
	return r
}

// isText reports whether a value is printable, but for a NUL at its end as
// SELinux labels have it.
func isText(value []byte) bool {
	s := strings.TrimSuffix(string(value), "\x00")
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// xattrText is a value as getfattr has it: "text", 0xHEX or 0sBASE64. Without
// a wish it is text where that loses nothing.
func xattrText(value []byte, encoding string) string {
	if encoding == "" {
		encoding = "base64"
		if isText(value) {
			encoding = "text"
		}
	}
	switch encoding {
	case "hex":
		return "0x" + enchex.EncodeToString(value)
	case "base64":
		return "0s" + base64.StdEncoding.EncodeToString(value)
	}
	text := strings.ReplaceAll(string(value), `\`, `\\`)
	return `"` + octalText(strings.ReplaceAll(text, `"`, `\"`), "") + `"`
}

// octalText writes what is not printable, and the bytes in special, in octal,
// which setfattr --restore takes apart again.
func octalText(s, special string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) || strings.IndexByte(special, s[i]) >= 0 {
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}
