package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
)

// maxServerEnd bounds the wait for a server that closes the image of a mount that is
// gone. umount(2) of most FUSE mounts does not wait for it.
const maxServerEnd = 10 * time.Second

// awaitServer waits for the end of a server that has the image, and whose mount is
// gone. It reports whether that has come: false for whoever still has a mount, or is
// no server of ours that we may know as one, by its socket.
func (e *env) awaitServer(ctx context.Context, err error) bool {
	var busy *device.BusyError
	if !errors.As(err, &busy) || busy.PID == 0 {
		return false
	}
	table, err := mountTable()
	if err != nil {
		return false
	}
	// It is the same process from here on, even if another gets its number.
	p, err := watchProcess(busy.PID)
	if err != nil {
		return false
	}
	defer p.Close()
	for _, dir := range statusDirs(e.getenv, processOwner(busy.PID)) {
		names, _ := filepath.Glob(filepath.Join(dir, "*.sock"))
		for _, socket := range names {
			// The number of the mount may be another one's by now, which shows another
			// source than the image.
			mounted := slices.ContainsFunc(table, func(m mountEntry) bool {
				return strings.HasPrefix(m.kind, "fuse") && statusSocket(dir, m.device) == socket &&
					(m.source == busy.Path || !filepath.IsAbs(m.source))
			})
			if !mounted && listener(socket) == busy.PID {
				return processEnd(ctx, p) == nil
			}
		}
	}
	return false
}

// statusDirs are where servers of a user may listen; a negative user is not known.
func statusDirs(getenv func(string) string, uid int) []string {
	dirs := []string{ownStatusDir(getenv), "/run/e4kit"}
	if uid >= 0 {
		dirs = append(dirs, filepath.Join(userRuntime(uid), "e4kit"))
		if last := lastStatusDir(uid); dirOf(last, uid) == nil {
			dirs = append(dirs, last)
		}
	}
	return dirs
}
