package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs/device"
)

func commitOverlayCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "commit-overlay",
		Usage:     "write the changes of an overlay to its image",
		ArgsUsage: "FILE IMAGE",
		Category:  categoryMount,
		Description: `Writes to IMAGE what 'e4kit mount --overlay FILE' has kept in FILE, and removes FILE.
IMAGE must be the one for which FILE was made, and unchanged since: of the same
size, with the same superblock and time of change. Neither may be in use.

What is interrupted is completed by doing it again; until then IMAGE is neither the
old nor the new one. With --keep FILE stays, and is an overlay of the changed image
from then on.

To drop the changes instead, remove FILE.

Examples:
  e4kit commit-overlay changes.ovl disk.img
  e4kit commit-overlay --keep changes.ovl disk.img`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "keep", Usage: "keep the overlay, for more changes"},
			&cli.BoolFlag{Name: "yes", Usage: "write to a block device too"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 2, 2); err != nil {
				return err
			}
			return e.commitOverlay(c.Args().Get(0), c.Args().Get(1), c.Bool("keep"), c.Bool("yes"))
		},
	}
}

// committed is what was done, also in JSON.
type committed struct {
	Overlay string `json:"overlay"`
	Image   string `json:"image"`
	Bytes   int64  `json:"bytes"`
	Kept    bool   `json:"kept"`
}

func (e *env) commitOverlay(file, image string, keep, yes bool) error {
	info, err := device.ReadOverlayInfo(file)
	if err != nil {
		return at(file, "", err)
	}
	if st, err := os.Stat(image); err == nil && st.Mode()&fs.ModeDevice != 0 && !yes {
		return at(image, "", errors.New("is a block device, and is written to with --yes only"))
	}
	o := device.Options{Write: true, Partition: e.flags.partition}
	switch {
	case e.flags.hasOffset:
		o.Partition = fmt.Sprintf("@%d", e.flags.offset)
	case o.Partition == "":
		// The overlay knows where its file system starts; that there may be a
		// partition of the same size elsewhere is of no interest.
		o.Partition = fmt.Sprintf("@%d", info.Offset)
	}
	dev, err := device.OpenContext(e.ctx, image, o)
	if err != nil {
		return at(image, "", err)
	}
	commit := device.OverlayCommitOptions{Keep: keep}
	if e.wantsProgress() {
		commit.Progress = func(done, total int64) {
			e.showProgressLocked(progressState{done: done, total: total, what: image})
		}
	}
	n, err := applyOverlay(e.ctx, file, dev, commit)
	e.endProgress()
	if closing := dev.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return at(image, "", err)
	}
	if !keep {
		if err := os.Remove(file); err != nil {
			return hostError(err)
		}
	}
	if e.json {
		return e.writeJSON(committed{file, image, n, keep})
	}
	_, err = fmt.Fprintf(e.writer(), "%s: %s written\n", e.shown(image), niceSize(n))
	return err
}

// applyOverlay says what to do after an interruption.
func applyOverlay(ctx context.Context, file string, dev *device.Image, o device.OverlayCommitOptions) (int64, error) {
	n, err := device.CommitOverlay(ctx, file, dev, o)
	if err != nil && n > 0 {
		err = fmt.Errorf("%w; the image is changed in part: do it again", err)
	}
	return n, err
}
