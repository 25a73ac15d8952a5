package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func fallocateCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "fallocate",
		Usage:     "allocate space of files, or give it back",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryChange,
		Description: `Changes where files have blocks, as fallocate(1) does: without a mode, the range
gets blocks that read as zeros, and the file gets longer if need be; one that does
not exist is made. --collapse and --insert want multiples of the block size.

Examples:
  e4kit fallocate -l 1G disk.img:/var/swap
  e4kit fallocate -p -o 1M -l 64M disk.img:/srv/disk.raw
  e4kit fallocate -d disk.img:/srv/disk.raw`,
		Flags: changeFlags(
			&cli.StringFlag{Name: "length", Aliases: []string{"l"}, Usage: "the range has `SIZE` bytes"},
			&cli.StringFlag{Name: "offset-in-file", Aliases: []string{"o"}, Usage: "the range begins at byte `N` of the file (default 0)"},
			&cli.BoolFlag{Name: "keep-size", Aliases: []string{"n"}, Usage: "the file does not get longer"},
			&cli.BoolFlag{Name: "punch-hole", Aliases: []string{"p"}, Usage: "make the range a hole"},
			&cli.BoolFlag{Name: "zero-range", Aliases: []string{"z"}, Usage: "make the range zeros"},
			&cli.BoolFlag{Name: "collapse-range", Aliases: []string{"c"}, Usage: "take the range out of the file"},
			&cli.BoolFlag{Name: "insert-range", Aliases: []string{"i"}, Usage: "insert a hole"},
			&cli.BoolFlag{Name: "dig-holes", Aliases: []string{"d"}, Usage: "make holes of blocks that are all zeros"},
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			f, err := e.fallocateFlags(c)
			if err != nil {
				return err
			}
			return e.eachArg(c, func(arg string) error { return e.fallocate(arg, f) })
		},
	}
}

// fallocation is what is to be done with a range of a file.
type fallocation struct {
	mode     ext4fs.FallocateMode
	dig      bool
	off, len int64 // len is 0 for the rest, where that makes sense
	word     string
}

func (e *env) fallocateFlags(c *cli.Context) (*fallocation, error) {
	f := &fallocation{word: "allocated"}
	modes := 0
	for _, m := range []struct {
		flag string
		mode ext4fs.FallocateMode
		word string
	}{
		{"punch-hole", ext4fs.FallocatePunch | ext4fs.FallocateKeepSize, "made a hole"},
		{"zero-range", ext4fs.FallocateZero, "made zeros"},
		{"collapse-range", ext4fs.FallocateCollapse, "taken out"},
		{"insert-range", ext4fs.FallocateInsert, "inserted"},
		{"dig-holes", 0, ""},
	} {
		if c.Bool(m.flag) {
			modes++
			f.mode, f.word = m.mode, m.word
			f.dig = m.mode == 0
		}
	}
	if modes > 1 {
		return nil, e.usagef("-p, -z, -c, -i and -d exclude each other")
	}
	if c.Bool("keep-size") {
		if f.mode&(ext4fs.FallocateCollapse|ext4fs.FallocateInsert) != 0 {
			return nil, e.usagef("-n does not go with -c and -i")
		}
		f.mode |= ext4fs.FallocateKeepSize
	}
	var err error
	if s := c.String("offset-in-file"); s != "" {
		if f.off, err = parseSize(s); err != nil {
			return nil, e.usagef("--offset-in-file: %v", err)
		}
	}
	if s := c.String("length"); s != "" {
		if f.len, err = parseSize(s); err != nil || f.len == 0 {
			return nil, e.usagef("--length %s: want a size from 1 on", s)
		}
	} else if !f.dig {
		return nil, e.usagef("--length is wanted")
	}
	return f, nil
}

func (e *env) fallocate(arg string, f *fallocation) error {
	list, err := e.spots(arg)
	if err != nil {
		return err
	}
	for _, s := range list {
		i, err := s.throughLinks()
		if err == nil && i == nil && (f.dig || f.mode&^ext4fs.FallocateKeepSize != 0) {
			err = ext4fs.ErrNotExist
		}
		if err == nil && i != nil && !i.IsRegular() {
			err = ext4fs.ErrNotFile
		}
		switch {
		case err != nil:
			err = e.failChange(s.img, s.path, err)
		case f.dig:
			err = e.digHoles(s, i, f)
		case i == nil:
			err = e.change(s.img, s.path, func() error { return makeAllocated(s, f) }, "made with %d bytes", f.off+f.len)
		default:
			err = e.change(s.img, s.path, func() error { return f.apply(i) },
				"%s", fmt.Sprintf("%d bytes at %d %s", f.len, f.off, f.word))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// apply changes a file that is there. What was allocated beyond its end before
// the space ran out is given back.
func (f *fallocation) apply(i *ext4fs.Inode) error {
	err := i.Fallocate(f.mode, f.off, f.len)
	if err != nil && f.mode&^ext4fs.FallocateKeepSize == 0 && errors.Is(err, ext4fs.ErrNoSpace) {
		err = errors.Join(err, i.Truncate(i.Size()))
	}
	return err
}

// makeAllocated makes a file with space, or none.
func makeAllocated(s *spot, f *fallocation) (err error) {
	if s.slash {
		return ext4fs.ErrNotExist
	}
	i, err := s.dir.Tmpfile(&ext4fs.NewNode{Mode: disk.ModeRegular | 0o666, Umask: ext4fs.DefaultUmask})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Release()) }()
	if err := i.Fallocate(f.mode, f.off, f.len); err != nil {
		return err
	}
	return s.dir.Link(s.name, i)
}

// digHoles punches out the blocks that hold zeros.
func (e *env) digHoles(s *spot, i *ext4fs.Inode, f *fallocation) error {
	end := i.Size()
	if f.len > 0 {
		end = min(end, f.off+min(f.len, end))
	}
	bs := int64(s.img.fs.BlockSize())
	buf := make([]byte, max(1<<20, bs))
	var dug int64
	punch := func(from, to int64) error {
		if to <= from {
			return nil
		}
		dug += to - from
		if e.dry {
			return nil
		}
		return i.Fallocate(ext4fs.FallocatePunch|ext4fs.FallocateKeepSize, from, to-from)
	}
	for span, err := range i.Data() {
		if err == nil {
			from := (max(span.Off, f.off) + bs - 1) / bs * bs
			err = e.digSpan(i, from, min(span.Off+span.Len, end), bs, buf, punch)
		}
		if err != nil {
			return e.failChange(s.img, s.path, err)
		}
	}
	e.did()
	return e.tellChange(s.img, s.path, "%d bytes made holes", dug)
}

func (e *env) digSpan(i *ext4fs.Inode, from, end, bs int64, buf []byte, punch func(from, to int64) error) error {
	start := int64(-1) // of a run of zeros
	for off := from; off < end; {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		n, err := i.ReadAt(buf[:min(int64(len(buf)), end-off)], off)
		if n == 0 {
			return err
		}
		for at := int64(0); at < int64(n); at += bs {
			block := buf[at:min(at+bs, int64(n))]
			zero := isZeros(block) && (int64(len(block)) == bs || off+at+int64(len(block)) == i.Size())
			switch {
			case zero && start < 0:
				start = off + at
			case !zero && start >= 0:
				if err := punch(start, off+at); err != nil {
					return err
				}
				start = -1
			}
		}
		off += int64(n)
	}
	if start >= 0 {
		return punch(start, end)
	}
	return nil
}

func isZeros(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}
