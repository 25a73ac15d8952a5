package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/format"
)

// mkfsTarget is what a file system is made in.
type mkfsTarget struct {
	name   string
	info   fs.FileInfo   // of what is there; nil: nothing
	img    *device.Image // the same, open, for writing but in a dry run
	device bool
	// offset is where the file system will start, total the least size of
	// all; both in bytes, and known when it is planned.
	offset, total int64
}

// openTarget looks at what has the name already: it is refused if it is in
// use, or if it holds something and nobody forces us.
func (e *env) openTarget(name string, o *mkfsOptions) (*mkfsTarget, error) {
	t := &mkfsTarget{name: name}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Better now than when all sources have been read.
		_, err = os.Stat(filepath.Dir(name))
		return t, hostError(err)
	case err != nil:
		return nil, hostError(err)
	case info.IsDir():
		return nil, at(name, "", errors.New("is a directory"))
	}
	t.info, t.device = info, info.Mode()&fs.ModeDevice != 0
	if t.device && o.output != "raw" {
		return nil, at(name, "", fmt.Errorf("is a device, and takes no image in the form %s", o.output))
	}
	t.img, err = device.OpenContext(e.ctx, name, device.Options{
		Write: !o.dry, NoLock: o.dry, NoContainers: true, Partition: "@0",
	})
	if err != nil {
		return nil, at(name, "", err)
	}
	if err := t.mayOverwrite(o); err != nil {
		t.close()
		return nil, at(name, "", err)
	}
	return t, nil
}

func (t *mkfsTarget) close() {
	if t.img != nil {
		t.img.Close()
	}
}

// mayOverwrite refuses to write over what is there.
func (t *mkfsTarget) mayOverwrite(o *mkfsOptions) error {
	if o.force {
		return nil
	}
	size := t.img.Size() - o.offset
	if size <= 0 {
		return nil
	}
	if o.format.Size > 0 && o.offset > 0 {
		size = min(size, o.format.Size)
	}
	w, err := device.NewWindow(t.img, o.offset, size)
	if err != nil {
		return err
	}
	what, err := identify(w)
	if err != nil || what == "" {
		return err
	}
	return fmt.Errorf("holds %s, and is written over with --force only", what)
}

// inPlace says that what is there is written to; else it is made anew.
func (t *mkfsTarget) inPlace(o *mkfsOptions) bool { return t.img != nil && o.output == "raw" }

// sector is the size of the sectors that a partition table counts in.
func (t *mkfsTarget) sector() int {
	if t.device {
		return sectorSize(t.name)
	}
	return 512
}

// chooseSize settles the size where the command line left it open, in o.
func (e *env) chooseSize(t *mkfsTarget, o *mkfsOptions) error {
	f := &o.format
	room := int64(0) // for the file system
	if t.inPlace(o) {
		room = t.img.Size() - o.offset
		if o.partition != "" {
			room = o.tableRoom(t.img.Size(), t.sector())
		}
	}
	switch {
	case f.Size == 0 && room > 0:
		f.Size = room
	case f.Size == 0 && t.device:
		return at(t.name, "", errors.New("has no room"))
	case f.Size == 0 && len(o.from) > 0:
		f.Size = format.SizeAuto
	case f.Size == 0:
		return e.usagef("%s does not exist or is empty: give a SIZE", t.name)
	case f.Size > 0 && t.device && f.Size > room:
		return at(t.name, "", fmt.Errorf("has room for %d bytes, not for %d", max(room, 0), f.Size))
	}
	return nil
}

// emptied says that the file that is there is made anew of zeros. In all other
// cases that is left to those who write to it.
func (t *mkfsTarget) emptied(o *mkfsOptions) bool {
	return t.inPlace(o) && !t.device && o.offset == 0 && !o.format.NoDiscard
}

// zeroed reports whether the file system will be written to zeros.
func (t *mkfsTarget) zeroed(o *mkfsOptions) bool { return !t.inPlace(o) || t.emptied(o) }

// place is where the file system goes in the disk that is written.
type place struct {
	disk   *device.Image
	w      device.Writer // the file system's part of it
	offset int64
	size   int64 // of all of it
}

// prepare makes what is there ready to be written to: a file system of size bytes.
func (t *mkfsTarget) prepare(o *mkfsOptions, size int64) (*place, error) {
	offset, total := t.offset, t.total
	p := &place{disk: t.img, offset: offset, size: max(total, t.img.Size())}
	if (o.format.Size < 0 || o.partition != "") && !t.device && o.offset == 0 {
		p.size = total // the size follows the content
	}
	var err error
	switch {
	case t.device:
		if o.partition != "" { // an old table, also where the new one has no copy
			err = errors.Join(device.Zero(t.img, 0, offset), device.Zero(t.img, offset+size, p.size-offset-size))
		}
	case t.emptied(o):
		if err = t.img.Truncate(0); err == nil {
			err = t.img.Truncate(p.size)
		}
	case p.size != t.img.Size():
		err = t.img.Truncate(p.size)
	}
	if err != nil {
		return nil, err
	}
	p.w, err = device.NewWriterWindow(t.img, offset, size)
	return p, err
}

// prepareNew makes a place in a file that has no name yet. stays says that this
// file is what is wanted, not one on the way to it.
func prepareNew(n *newFile, offset, size, total int64, stays bool) (*place, error) {
	img, err := device.FromFile(n.f)
	if err != nil {
		return nil, err
	}
	if stays {
		img.WriteEarly()
	}
	if err := img.Truncate(total); err != nil {
		return nil, err
	}
	w, err := device.NewWriterWindow(img, offset, size)
	return &place{disk: img, w: w, offset: offset, size: total}, err
}
