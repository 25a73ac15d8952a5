package main

import (
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
)

func dfCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "df",
		Usage:     "show how full file systems are",
		ArgsUsage: "IMAGE...",
		Category:  categoryLook,
		Description: `Prints size, used and free space in KiB, as df(1) would for the mounted image.
What the file system needs for itself counts neither as size nor as used.

Examples:
  e4kit df -h *.img
  e4kit df -i disk.img`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "human-readable", Aliases: []string{"h"}, Usage: "sizes as 4.0K, 12M"},
			&cli.BoolFlag{Name: "inodes", Aliases: []string{"i"}, Usage: "inodes rather than space"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return runDf(e, c.Args().Slice(), c.Bool("human-readable"), c.Bool("inodes"))
		},
	}
}

// dfRecord is a file system in JSON; sizes in bytes.
type dfRecord struct {
	Image          string `json:"image"`
	Size           uint64 `json:"size"`
	Used           uint64 `json:"used"`
	Free           uint64 `json:"free"`
	Available      uint64 `json:"available"` // free, less what is reserved for root
	Overhead       uint64 `json:"overhead"`
	BlockSize      int    `json:"block_size"`
	Inodes         uint64 `json:"inodes"`
	InodesFree     uint64 `json:"inodes_free"`
	InodesUsed     uint64 `json:"inodes_used"`
	UsedPercent    int    `json:"used_percent"`
	InodesPercents int    `json:"inodes_used_percent"`
}

func newDfRecord(name string, s ext4fs.Space) *dfRecord {
	bs := uint64(s.BlockSize)
	r := &dfRecord{
		Image: name, Size: s.Blocks * bs, Free: s.Free * bs, Available: s.Available * bs,
		Overhead: s.Overhead * bs, BlockSize: s.BlockSize, Inodes: s.Inodes, InodesFree: s.InodesFree,
	}
	r.Used = r.Size - min(r.Free, r.Size)
	r.InodesUsed = r.Inodes - min(r.InodesFree, r.Inodes)
	r.UsedPercent = percent(r.Used, r.Used+r.Available)
	r.InodesPercents = percent(r.InodesUsed, r.Inodes)
	return r
}

// percent rounds up, as df does.
func percent(part, whole uint64) int {
	if whole == 0 {
		return 0
	}
	return int((float64(part)*100)/float64(whole) + 0.9999999)
}

func runDf(e *env, args []string, human, inodes bool) error {
	var list []*dfRecord
	for _, arg := range args {
		t, err := parseTarget(arg)
		if err != nil {
			return e.usagef("%v", err)
		}
		img, err := e.open(t.image)
		if err != nil {
			e.fail(err)
			continue
		}
		space, err := img.fs.Space()
		if err != nil {
			e.fail(at(img.name, "", err))
			continue
		}
		list = append(list, newDfRecord(img.name, space))
		e.did()
	}
	if e.json {
		for _, r := range list {
			if err := e.writeJSON(r); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list) == 0 {
		return nil
	}
	return e.table(dfRows(list, human, inodes))
}

func dfRows(list []*dfRecord, human, inodes bool) (rows [][]string) {
	size := func(n uint64) string {
		if human {
			return humanSize(int64(n))
		}
		return strconv.FormatUint((n+1023)/1024, 10)
	}
	switch {
	case inodes:
		rows = append(rows, []string{"Image", "Inodes", "IUsed", "IFree", "IUse%"})
	case human:
		rows = append(rows, []string{"Image", "Size", "Used", "Avail", "Use%"})
	default:
		rows = append(rows, []string{"Image", "1K-blocks", "Used", "Available", "Use%"})
	}
	for _, r := range list {
		if inodes {
			rows = append(rows, []string{r.Image, utoa(r.Inodes), utoa(r.InodesUsed), utoa(r.InodesFree), fmt.Sprintf("%d%%", r.InodesPercents)})
			continue
		}
		rows = append(rows, []string{r.Image, size(r.Size), size(r.Used), size(r.Available), fmt.Sprintf("%d%%", r.UsedPercent)})
	}
	return rows
}

// table writes rows with the first column to the left and the others to the
// right.
func (e *env) table(rows [][]string) error {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	w := e.writer()
	for _, row := range rows {
		for i, cell := range row {
			if i == 0 {
				w.WriteString(e.shown(cell) + pad(cell, widths[i]))
				continue
			}
			w.WriteString(" " + pad(cell, widths[i]) + cell)
		}
		if err := w.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}
