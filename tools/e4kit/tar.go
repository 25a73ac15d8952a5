package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs/pax"
)

// tarOptions are the flags of tar.
type tarOptions struct {
	output             string
	noXattrs, noSparse bool
	verbose            bool
	prefix             string
}

func tarCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "tar",
		Usage:     "write trees as a tar stream, or a tar stream into an image",
		ArgsUsage: "IMAGE[:/PATH]...",
		Category:  categoryTake,
		Description: `Writes a PAX tar stream with extended attributes, ACLs, holes, hard links and
times to the nanosecond, to standard output or to a file. Members of a root, or
of a PATH that ends in "/.", begin with "./". Owners are written as numbers. The
same image gives the same bytes.

-x goes the other way: it writes the members of an archive (ustar, PAX, GNU; plain
or compressed with gzip, zstd, xz or bzip2) into the directory IMAGE:/PATH, or
those that further arguments name. Owners (numbers), permissions, times, holes,
hard links, devices, attributes and ACLs are kept. Archives are not trusted: ".."
is refused, absolute names and symbolic links lead no further than that
directory. Existing files are replaced when the new one is whole.

Examples:
  e4kit tar disk.img | tar -x --xattrs --acls -C /mnt/copy
  e4kit tar -o etc.tar disk.img:/etc
  e4kit tar disk.img:/usr | zstd >usr.tar.zst
  e4kit tar -x -f rootfs.tar.zst disk.img
  e4kit tar -xv --strip-components 1 -f app-1.0.tar.gz disk.img:/opt/app`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, which gets its name when it is whole"},
			&cli.StringFlag{Name: "prefix", Usage: "put `DIR` before the names of members"},
			&cli.BoolFlag{Name: "no-xattrs", Usage: "leave out extended attributes and ACLs"},
			&cli.BoolFlag{Name: "no-sparse", Usage: "write holes as zeros"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "list members: on standard error, with -x on standard output"},
		}, extractFlags()...),
		Action: func(c *cli.Context) error {
			if c.Bool("extract") {
				return e.runExtract(c)
			}
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return runTar(e, c.Args().Slice(), tarOptions{
				output: c.String("output"), prefix: c.String("prefix"), verbose: c.Bool("verbose"),
				noXattrs: c.Bool("no-xattrs"), noSparse: c.Bool("no-sparse"),
			})
		},
	}
}

func runTar(e *env, args []string, o tarOptions) error {
	toStdout := o.output == "" || o.output == "-"
	if toStdout && e.json {
		return e.usagef("--json needs --output: standard output has the tar stream")
	}
	if toStdout && e.outTTY {
		return e.usagef("a tar stream on a terminal helps nobody; use --output or a pipe")
	}
	nodes, err := e.resolveAll(args, noFollowLast)
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		return nil
	}
	if severalImages(nodes) {
		return e.usagef("one stream has files of one image")
	}
	if toStdout {
		if err := e.flush(); err != nil {
			return err
		}
		return e.tar(nodes, e.stdout, o)
	}
	return writeWhole(o.output, func(w io.Writer) error { return e.tar(nodes, w, o) })
}

// tarRecord is the summary in JSON.
type tarRecord struct {
	Members int64 `json:"members"`
	Bytes   int64 `json:"bytes"`
}

func (e *env) tar(nodes []*node, w io.Writer, o tarOptions) error {
	var sum tarRecord
	total := e.totalOf(nodes)
	img := nodes[0].img
	t := pax.NewWriter(img.fs, w, pax.Options{
		NoXattrs: o.noXattrs, NoSparse: o.noSparse,
		Error:   func(path string, err error) { e.fail(at(img.name, path, err)) },
		Skipped: func(path, what string) { e.note("%s: %s: %s left out: tar has no such type", img.name, path, what) },
		Done: func(name string) {
			if o.verbose {
				e.verbose(name)
			}
		},
		Progress: func(files, bytes int64, path string) {
			sum = tarRecord{files, bytes}
			e.showProgress(progressState{done: bytes, total: total.bytes, files: files, ofMany: total.files, what: path})
		},
	})
	for _, n := range nodes {
		if err := t.Add(e.ctx, n.inode, o.prefixed(tarName(n)), n.path); err != nil {
			return err
		}
		e.did()
	}
	if err := t.Close(); err != nil {
		return err
	}
	e.endProgress()
	if e.json {
		return e.writeJSON(sum)
	}
	return nil
}

// verbose tells of a file that was done, on standard error.
func (e *env) verbose(name string) {
	e.clearProgress()
	fmt.Fprintln(e.stderr, safeText(name))
}

// tarName is what a node is called in the stream.
func tarName(n *node) string {
	if n.dots {
		return "."
	}
	return copyName(n)
}

func (o *tarOptions) prefixed(name string) string {
	if o.prefix == "" {
		return name
	}
	prefix := strings.TrimRight(o.prefix, "/")
	if name == "." {
		return prefix
	}
	return prefix + "/" + name
}

// writeWhole writes a file under a temporary name beside it, and renames it
// when write is done without an error. Devices, fifos and the like are written
// as they are.
func writeWhole(name string, write func(io.Writer) error) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return hostError(err)
		}
		return errors.Join(write(f), f.Close())
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	f, err := os.OpenFile(fmt.Sprintf("%s.e4kit-%016x", name, rand.Uint64()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return hostError(err)
	}
	err = write(f)
	if closeErr := f.Close(); err == nil && closeErr != nil {
		err = hostError(closeErr)
	}
	if err == nil {
		err = hostError(os.Rename(f.Name(), name))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
