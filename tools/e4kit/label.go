package main

import (
	"crypto/rand"
	enchex "encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func labelCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "label",
		Usage:     "show or set the name of a file system",
		ArgsUsage: "IMAGE [NEW]",
		Category:  categoryChange,
		Description: `With NEW, of at most 16 bytes, sets the name in the superblock and its copies; an
empty NEW takes it away.

Examples:
  e4kit label disk.img
  e4kit label disk.img rootfs
  e4kit label disk.img ''`,
		Flags: changeFlags(),
		Action: func(c *cli.Context) error {
			return e.identity(c, "label", (*ext4fs.FS).Label, func(img *image, text string) (string, func() error, error) {
				return text, func() error { return img.fs.SetLabel(text) }, nil
			})
		},
	}
}

func uuidCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "uuid",
		Usage:     "show or set the UUID of a file system",
		ArgsUsage: "IMAGE [NEW|random|clear|time]",
		Category:  categoryChange,
		Description: `NEW is a UUID, or random, clear (all zeros) or time (made of the time). The
superblock and its copies are changed. Where metadata checksums depend on the
UUID, the feature metadata_csum_seed is switched on, which keeps them good; Linux
knows it since 4.4. Refused: uninit_bg without metadata_csum, external journals,
stable_inodes.

Examples:
  e4kit uuid disk.img
  e4kit uuid disk.img random`,
		Flags: changeFlags(),
		Action: func(c *cli.Context) error {
			show := func(f *ext4fs.FS) string { return disk.UUIDString(f.UUID()) }
			return e.identity(c, "uuid", show, func(img *image, text string) (string, func() error, error) {
				u, err := e.newUUID(text)
				if err != nil {
					return "", nil, err
				}
				return disk.UUIDString(u), func() error { return img.fs.SetUUID(u) }, nil
			})
		},
	}
}

// identityRecord is a label or UUID in JSON.
type identityRecord struct {
	Image string  `json:"image"`
	Label *string `json:"label,omitempty"`
	UUID  *string `json:"uuid,omitempty"`
	Old   *string `json:"old,omitempty"` // before the change
}

// identity shows or sets what identifies a file system.
func (e *env) identity(c *cli.Context, word string, show func(*ext4fs.FS) string, set func(*image, string) (string, func() error, error)) error {
	if err := wantArgs(c, e, 1, 2); err != nil {
		return err
	}
	name, setting := c.Args().First(), c.Args().Len() == 2
	if setting {
		if err := e.willChange(c); err != nil {
			return err
		}
	}
	if t, err := parseTarget(name); err != nil || t.given {
		return e.usagef("%q is not the name of an image", name)
	}
	img, err := e.open(name)
	if err != nil {
		return err
	}
	r := identityRecord{Image: name}
	value := show(img.fs)
	if setting {
		old := value
		var change func() error
		if value, change, err = set(img, c.Args().Get(1)); err != nil {
			return err
		}
		r.Old = &old
		failed := e.failed.count
		err = e.change(img, "", change, "%s %s -> %s", word, quoted(old), quoted(value))
		if err != nil || e.failed.count > failed || !e.json {
			return err
		}
	}
	if !e.json {
		fmt.Fprintln(e.writer(), e.shown(value))
		return e.endLine()
	}
	if word == "label" {
		r.Label = &value
	} else {
		r.UUID = &value
	}
	return e.writeJSON(r)
}

// quoted shows where a text begins and ends, if it is empty or has blanks.
func quoted(s string) string {
	if s == "" || strings.ContainsRune(s, ' ') {
		return "'" + s + "'"
	}
	return s
}

// newUUID reads a UUID or makes one.
func (e *env) newUUID(text string) (u [16]byte, err error) {
	switch text {
	case "clear", "null":
		return u, nil
	case "random":
		rand.Read(u[:])
		u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
		return u, nil
	case "time":
		return timeUUID(e.now()), nil
	}
	digits := strings.ReplaceAll(text, "-", "")
	b, err := enchex.DecodeString(digits)
	if err != nil || len(b) != 16 || len(text) != 36 || !strings.EqualFold(uuidForm(b), text) {
		return u, e.usagef("%q is no UUID, nor random, clear or time", text)
	}
	copy(u[:], b)
	return u, nil
}

func uuidForm(b []byte) string { return disk.UUIDString([16]byte(b)) }

// timeUUID is a UUID of version 1 with a random node.
func timeUUID(now time.Time) (u [16]byte) {
	// 100 ns steps since the Gregorian calendar began.
	const since1582 = 0x01b21dd213814000
	ticks := uint64(now.Unix())*1e7 + uint64(now.Nanosecond())/100 + since1582
	rand.Read(u[8:])
	for n := range 4 {
		u[n] = byte(ticks >> (24 - 8*n))
	}
	u[4], u[5] = byte(ticks>>40), byte(ticks>>32)
	u[6], u[7] = byte(ticks>>56)&0x0f|0x10, byte(ticks>>48)
	u[8] = u[8]&0x3f | 0x80
	u[10] |= 1 // no address of a network card
	return u
}
