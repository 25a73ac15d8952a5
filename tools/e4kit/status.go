package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
)

func statusCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show what a mount is doing",
		ArgsUsage: "MOUNTPOINT",
		Category:  categoryMount,
		Description: `Asks the server of a mount that 'e4kit mount' has made: how many requests of each
kind it has answered and how long that took (the mean, what half and 99 % of them
took at most, rounded up to a power of two of nanoseconds, and the longest), its
cache of metadata, the journal, what is not at its place yet, and the free space.

Only the user who has mounted, and root, can ask.

Examples:
  e4kit status mnt
  e4kit status --json mnt`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, 1); err != nil {
				return err
			}
			st, err := e.askMount(c.Args().First())
			if err != nil {
				return err
			}
			if e.json {
				return e.writeJSON(st)
			}
			return e.printStatus(st)
		},
	}
}

// askMount gets the status of the mount on a directory.
func (e *env) askMount(dir string) (*mountStatus, error) {
	m, err := findOwnMount(dir)
	if err != nil {
		return nil, err
	}
	var all error
	for _, socket := range m.sockets(e.getenv) {
		body, err := askStatus(e.ctx, socket, "/status")
		if err != nil {
			if e.ctx.Err() != nil {
				return nil, e.ctx.Err()
			}
			all = errors.Join(all, err)
			continue
		}
		defer body.Close()
		st := new(mountStatus)
		if err := json.NewDecoder(io.LimitReader(body, maxStatus)).Decode(st); err != nil {
			return nil, at(dir, "", fmt.Errorf("the answer of the server: %w", err))
		}
		return st, nil
	}
	return nil, at(dir, "", fmt.Errorf("its server does not answer: %w", firstOf(all)))
}

// firstOf is the first of joined errors: the others are about places that were
// tried as well.
func firstOf(err error) error {
	if list, ok := err.(interface{ Unwrap() []error }); ok && len(list.Unwrap()) > 0 {
		return firstOf(list.Unwrap()[0])
	}
	return err
}

// printStatus writes the status for people.
func (e *env) printStatus(st *mountStatus) error {
	w := e.writer()
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name+":", e.shown(fmt.Sprintf(format, args...)))
	}
	mode := "read-write"
	if st.ReadOnly {
		mode = "read-only"
	}
	line("Mountpoint", "%s", st.Mountpoint)
	line("Image", "%s, %s", st.Image, mode)
	if o := st.Overlay; o != nil {
		line("Overlay", "%s, %s changed", o.Path, niceSize(o.Written))
	}
	line("Server", "process %d, since %s, device %s, FUSE %s by %s", st.PID, st.Since.In(e.local).Format(time.DateTime), st.Device, st.Protocol, st.Transport)
	line("Requests", "%d in work, %s, %s known", st.InFlight, counted(st.OpenFiles, "open file"), counted(st.Nodes, "inode"))
	c := &st.Cache
	line("Cache", "%s of %s, %.1f%% of %d found", niceSize(c.Size), niceSize(c.Limit), share(c.Hits, c.Hits+c.Misses), c.Hits+c.Misses)
	line("Dirty", "%s", niceSize(st.Dirty))
	if j := st.Journal; j != nil {
		line("Journal", "transaction %d running, %d committed; %d commits, %d checkpoints, %d blocks", j.Running, j.Committed, j.Commits, j.Checkpoints, j.Blocks)
		line("Log", "%d of %d blocks in use, %d blocks not home yet", j.LogUsed, j.LogBlocks, j.Pending)
	}
	if sp := st.Space; sp != nil {
		line("Space", "%s of %s free, %d of %d inodes", niceSize(int64(sp.Free)), niceSize(int64(sp.Size)), sp.InodesFree, sp.Inodes)
	}
	if len(st.Operations) == 0 {
		return nil
	}
	w.WriteByte('\n')
	rows := [][]string{{"Operation", "Count", "Errors", "Data", "Mean", "50%", "99%", "Max"}}
	for _, op := range st.Operations {
		rows = append(rows, []string{op.Op, utoa(op.Count), utoa(op.Errors), humanSize(int64(op.Bytes)),
			shortTime(op.Mean), shortTime(op.P50), shortTime(op.P99), shortTime(op.Max)})
	}
	return e.table(rows)
}

// share is a percentage.
func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// shortTime is a time in three places.
func shortTime(ns int64) string {
	for _, unit := range []struct {
		ns   int64
		name string
	}{{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}} {
		if ns >= unit.ns {
			v := float64(ns) / float64(unit.ns)
			digits := 0
			switch {
			case v < 10:
				digits = 2
			case v < 100:
				digits = 1
			}
			return strconv.FormatFloat(v, 'f', digits, 64) + unit.name
		}
	}
	return strconv.FormatInt(ns, 10) + "ns"
}
