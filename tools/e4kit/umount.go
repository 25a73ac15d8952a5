package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

func umountCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "umount",
		Usage:     "unmount an image, and wait until it is closed",
		ArgsUsage: "MOUNTPOINT...",
		Category:  categoryMount,
		Description: `Ends a mount that 'e4kit mount' has made, and returns when its server has written
everything and has closed the image, which can be used at once then. What the
server could not write is an error here.

A mount in use stays; who has files open there is told, as far as /proc shows it.
With --lazy the directory is taken away all the same: the mount ends, and the image
is closed, with its last user, for whom nobody waits.

Examples:
  e4kit umount mnt
  e4kit umount --lazy mnt`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "lazy", Aliases: []string{"l", "z"}, Usage: "take the directory away now, end with the last user"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			for _, dir := range c.Args().Slice() {
				if err := e.umount(dir, c.Bool("lazy")); err != nil {
					if e.ctx.Err() != nil {
						return err
					}
					e.fail(err)
					continue
				}
				e.did()
			}
			return nil
		},
	}
}

// umount ends one mount.
func (e *env) umount(dir string, lazy bool) error {
	m, err := findOwnMount(dir)
	if err != nil {
		return err
	}
	// Asked before: afterwards the name of the socket may be another's.
	var waiting io.ReadCloser
	if !lazy {
		for _, socket := range m.sockets(e.getenv) {
			if waiting, err = askStatus(e.ctx, socket, "/closed"); err == nil {
				defer waiting.Close()
				break
			}
		}
		if waiting == nil {
			e.note("%s: warning: the server does not answer: nobody tells when the image is closed", dir)
		}
	}
	if err := unmountDir(e.ctx, m.dir, lazy); err != nil {
		if errors.Is(err, syscall.EBUSY) {
			return at(dir, "", busyMount(m.dir))
		}
		return at(dir, "", err)
	}
	if waiting == nil {
		return nil
	}
	var a closedAnswer
	if err := json.NewDecoder(io.LimitReader(waiting, maxStatus)).Decode(&a); err != nil {
		if e.ctx.Err() != nil {
			return context.Cause(e.ctx)
		}
		return at(dir, "", fmt.Errorf("unmounted, but the server ended before it had closed the image: %w", err))
	}
	if a.Error != "" {
		return at(dir, "", fmt.Errorf("unmounted, but the image was not written: %s", a.Error))
	}
	return nil
}

// mountBusyError is a mount in use. It matches syscall.EBUSY.
type mountBusyError struct{ users []string }

func busyMount(dir string) error { return &mountBusyError{mountUsers(dir)} }

func (b *mountBusyError) Error() string {
	if len(b.users) == 0 {
		return "it is in use"
	}
	return "it is in use by " + strings.Join(b.users, ", ")
}

func (*mountBusyError) Is(target error) bool { return target == error(syscall.EBUSY) }
