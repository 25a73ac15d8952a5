package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/host"
)

// touchOptions are the flags of touch.
type touchOptions struct {
	atime, mtime       bool
	noCreate, noFollow bool
	at                 *[2]time.Time // of access and change; nil: now
}

func touchCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "touch",
		Usage:     "set times in an image, make empty files",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryChange,
		Description: `Sets the times of access and modification to now, or to what -d, -t or -r says.
What does not exist becomes an empty file, unless -c is given. A date is
2026-11-21, with 12:30, 12:30:15.123456789 and Z or +01:00 after it if wanted, or
@SECONDS since 1970.

Examples:
  e4kit touch disk.img:/etc/.updated
  e4kit touch -d '2026-11-21 12:30 Z' disk.img:/etc/os-release
  e4kit touch -r disk.img:/bin/ls 'disk.img:/bin/*'`,
		Flags: changeFlags(
			&cli.BoolFlag{Name: "a", Usage: "only the time of access"},
			&cli.BoolFlag{Name: "m", Usage: "only the time of modification"},
			&cli.BoolFlag{Name: "no-create", Aliases: []string{"c"}, Usage: "make no files"},
			&cli.StringFlag{Name: "date", Aliases: []string{"d"}, Usage: "the time is `DATE`"},
			&cli.StringFlag{Name: "t", Usage: "the time is `[[CC]YY]MMDDhhmm[.ss]`"},
			&cli.StringFlag{Name: "reference", Aliases: []string{"r"}, Usage: "take the times of `FILE`, in an image or not"},
			&cli.BoolFlag{Name: "no-dereference", Aliases: []string{"h"}, Usage: "change symbolic links themselves"},
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			o := touchOptions{atime: c.Bool("a"), mtime: c.Bool("m"), noCreate: c.Bool("no-create"), noFollow: c.Bool("no-dereference")}
			if !o.atime && !o.mtime {
				o.atime, o.mtime = true, true
			}
			var err error
			if o.at, err = e.touchTimes(c); err != nil {
				return err
			}
			return e.eachArg(c, func(arg string) error { return e.touch(arg, o) })
		},
	}
}

// touchTimes finds the times that flags ask for.
func (e *env) touchTimes(c *cli.Context) (*[2]time.Time, error) {
	given := 0
	for _, name := range []string{"date", "t", "reference"} {
		if c.IsSet(name) {
			given++
		}
	}
	if given > 1 {
		return nil, e.usagef("-d, -t and -r exclude each other")
	}
	var t time.Time
	var err error
	switch {
	case c.IsSet("date"):
		if t, err = parseDate(c.String("date"), e.now(), e.local); err != nil {
			return nil, e.usagef("--date: %v", err)
		}
	case c.IsSet("t"):
		if t, err = parseStamp(c.String("t"), e.now(), e.local); err != nil {
			return nil, e.usagef("-t: %v", err)
		}
	case c.IsSet("reference"):
		return e.timesOf(c.String("reference"), !c.Bool("no-dereference"))
	default:
		return nil, nil
	}
	return &[2]time.Time{t, t}, nil
}

// timesOf reads the times of a file in an image, or of the host.
func (e *env) timesOf(name string, follow bool) (*[2]time.Time, error) {
	if t, err := parseTarget(name); err == nil && t.given {
		n, err := e.resolveOne(name, followIf(follow))
		if err != nil {
			return nil, err
		}
		st := n.inode.Stat()
		return &[2]time.Time{st.Atime, st.Mtime}, nil
	}
	stat := os.Stat
	if !follow {
		stat = os.Lstat
	}
	info, err := stat(name)
	if err != nil {
		return nil, hostError(err)
	}
	if st, ok := host.StatPath(name, info); ok {
		return &[2]time.Time{st.Atime, st.Mtime}, nil
	}
	return &[2]time.Time{info.ModTime(), info.ModTime()}, nil
}

func (e *env) touch(arg string, o touchOptions) error {
	list, err := e.spots(arg)
	if err != nil {
		if o.noCreate && errors.Is(err, ext4fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, s := range list {
		i, err := s.inode()
		if err == nil && i != nil && i.IsSymlink() && !o.noFollow {
			i, err = s.img.fs.Lookup(s.path)
			if errors.Is(err, ext4fs.ErrNotExist) && s.path[0] == '/' {
				i, err = nil, nil // made where the link leads
			}
		}
		switch {
		case err != nil:
			err = e.failChange(s.img, s.path, err)
		case i == nil && (o.noCreate || o.noFollow):
		case i == nil:
			err = e.change(s.img, s.path, func() error { return touchNew(s, o) }, "file made")
		default:
			err = e.change(s.img, s.path, func() error { return i.SetAttr(o.attrs()) }, "times set")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// touchNew makes an empty file.
func touchNew(s *spot, o touchOptions) error {
	if s.slash {
		return ext4fs.ErrNotExist
	}
	n := &ext4fs.NewNode{Mode: disk.ModeRegular | 0o666, Umask: ext4fs.DefaultUmask}
	if o.at != nil {
		if o.atime {
			n.Atime = o.at[0]
		}
		if o.mtime {
			n.Mtime = o.at[1]
		}
	}
	_, err := s.dir.Create(s.name, n)
	if !errors.Is(err, ext4fs.ErrExist) {
		return err
	}
	// A symbolic link that leads nowhere yet.
	f, err := s.img.fs.OpenFile(s.path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	err = f.Inode().SetAttr(o.attrs())
	return errors.Join(err, f.Close())
}

func (o *touchOptions) attrs() *ext4fs.SetAttr {
	a := &ext4fs.SetAttr{}
	if o.at == nil {
		if o.atime {
			a.Valid |= ext4fs.AttrAtimeNow
		}
		if o.mtime {
			a.Valid |= ext4fs.AttrMtimeNow
		}
		return a
	}
	if o.atime {
		a.Valid |= ext4fs.AttrAtime
		a.Atime = o.at[0]
	}
	if o.mtime {
		a.Valid |= ext4fs.AttrMtime
		a.Mtime = o.at[1]
	}
	return a
}

var dateForms = []string{"2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05.999999999"}

// parseDate reads the dates that touch -d takes here.
func parseDate(s string, now time.Time, local *time.Location) (time.Time, error) {
	text := strings.TrimSpace(s)
	if text == "now" {
		return now, nil
	}
	if strings.HasPrefix(text, "@") {
		whole, part, _ := strings.Cut(text[1:], ".")
		sec, err := strconv.ParseInt(whole, 10, 64)
		if err != nil || len(part) > 9 {
			return time.Time{}, fmt.Errorf("%q is no date", s)
		}
		ns, err := strconv.ParseUint((part + "000000000")[:9], 10, 32)
		if err != nil {
			return time.Time{}, fmt.Errorf("%q is no date", s)
		}
		if strings.HasPrefix(whole, "-") {
			return time.Unix(sec, -int64(ns)), nil
		}
		return time.Unix(sec, int64(ns)), nil
	}
	text = strings.Replace(text, "T", " ", 1)
	text = strings.TrimSuffix(text, " UTC") + map[bool]string{true: "Z", false: ""}[strings.HasSuffix(text, " UTC")]
	for _, form := range dateForms {
		for _, zone := range []string{"", "Z07:00", " Z07:00", "Z0700", " Z0700"} {
			if t, err := time.ParseInLocation(form+zone, text, local); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date", s)
}

// parseStamp reads [[CC]YY]MMDDhhmm[.ss].
func parseStamp(s string, now time.Time, local *time.Location) (time.Time, error) {
	digits, seconds, hasSeconds := strings.Cut(s, ".")
	if !hasSeconds {
		seconds = "00"
	}
	switch len(digits) {
	case 8:
		digits = fmt.Sprintf("%04d", now.In(local).Year()) + digits
	case 10:
		century := "20"
		if digits[0] >= '7' || digits[:2] == "69" {
			century = "19"
		}
		digits = century + digits
	}
	t, err := time.ParseInLocation("20060102150405", digits+seconds, local)
	if err != nil || len(seconds) != 2 {
		return time.Time{}, fmt.Errorf("%q is not [[CC]YY]MMDDhhmm[.ss]", s)
	}
	return t, nil
}
