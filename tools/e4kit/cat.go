package main

import (
	"context"
	"errors"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
)

func catCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "cat",
		Usage:     "write the content of files to standard output",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryTake,
		Description: `Writes the files one after the other. Holes become zeros.

Examples:
  e4kit cat disk.img:/etc/os-release
  e4kit cat 'disk.img:/var/log/*.log' | grep error
  e4kit cat 'disk.img:<12>' >restored`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return runCat(e, c.Args().Slice())
		},
	}
}

func runCat(e *env, args []string) error {
	nodes, err := e.resolveAll(args, followLast)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := e.cat(n); err != nil {
			var out *outputError
			if errors.As(err, &out) || e.ctx.Err() != nil {
				return err
			}
			e.failAt(n, err)
			continue
		}
		e.did()
	}
	return nil
}

// outputError is a failure of our output, not of the image.
type outputError struct{ err error }

func (e *outputError) Error() string { return "standard output: " + cause(e.err, "/dev/stdout") }
func (e *outputError) Unwrap() error { return e.err }

// catBuffer is how much cat reads at once.
const catBuffer = 1 << 20

// cat writes one file to standard output.
func (e *env) cat(n *node) error {
	switch {
	case n.inode.IsDir():
		return ext4fs.ErrIsDir
	case !n.inode.IsRegular():
		return ext4fs.ErrNotFile
	}
	if err := e.flush(); err != nil {
		return &outputError{err}
	}
	var out outputWriter = func(p []byte) error {
		_, err := e.stdout.Write(p)
		return err
	}
	return copyContent(e.ctx, out, n.inode)
}

// outputWriter marks errors of the output.
type outputWriter func(p []byte) error

func (w outputWriter) Write(p []byte) (int, error) {
	if err := w(p); err != nil {
		return 0, &outputError{err}
	}
	return len(p), nil
}

// copyContent writes all bytes of a file to w, holes as zeros.
func copyContent(ctx context.Context, w io.Writer, inode *ext4fs.Inode) error {
	buf := make([]byte, min(catBuffer, max(inode.Size(), 1)))
	for off := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := inode.ReadAt(buf, off)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			off += int64(n)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
