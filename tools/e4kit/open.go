package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
)

// image is an opened image and the name the user gave it.
type image struct {
	name   string
	fs     *ext4fs.FS
	info   fs.FileInfo // of the image file; nil where the host gives none
	owners *owners     // once they are wanted
}

// images keeps what a verb has opened: several arguments may name files in
// one image.
type images struct {
	list    []*image
	journal *device.Image
}

// open opens an image once.
func (e *env) open(name string) (*image, error) {
	if e.images == nil {
		e.images = &images{}
	}
	info, _ := os.Stat(name)
	for _, img := range e.images.list {
		if img.name == name || info != nil && img.info != nil && os.SameFile(info, img.info) {
			return img, nil
		}
	}
	o, err := e.openOptions()
	if err != nil {
		return nil, err
	}
	openFile := ext4fs.OpenFile
	if e.writes && !e.dry {
		openFile = e.openWritable
	}
	fsys, err := openFile(name, o)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, device.ErrNoPartition) {
			err = fmt.Errorf("%s%s", cause(err, name), imageHint(name))
			return nil, at(name, "", &notFound{err})
		}
		if errors.Is(err, device.ErrManyPartitions) {
			err = fmt.Errorf("%s; take one with --partition", cause(err, name))
		}
		return nil, at(name, "", err)
	}
	img := &image{name: name, fs: fsys, info: info}
	e.images.list = append(e.images.list, img)
	if fsys.Writable() {
		e.noteRecovered(img)
	} else {
		e.warnInUse(img)
	}
	return img, nil
}

// notFound keeps the kind of an error whose text was improved.
type notFound struct{ error }

func (*notFound) Is(target error) bool { return target == fs.ErrNotExist }

func (e *env) openOptions() (*ext4fs.Options, error) {
	o := &ext4fs.Options{
		Device:          device.Options{Partition: e.flags.partition},
		IgnoreChecksums: e.flags.ignoreChecksums,
		NoReplay:        e.flags.noJournal,
		CacheBytes:      e.flags.cache,
		Context:         e.ctx,
	}
	if e.flags.hasOffset {
		// "@0" says the whole image, which a bare 0 would not.
		o.Device.Partition = fmt.Sprintf("@%d", e.flags.offset)
	}
	if e.flags.journal == "" {
		return o, nil
	}
	if e.images.journal == nil {
		j, err := device.Open(e.flags.journal, device.Options{Partition: "@0", Write: e.writes && !e.dry})
		if err != nil {
			return nil, at(e.flags.journal, "", err)
		}
		e.images.journal = j
	}
	o.Journal = e.images.journal
	return o, nil
}

// warnInUse tells of another host that has the image mounted: what is read
// may change under our hands.
func (e *env) warnInUse(img *image) {
	st, err := img.fs.MMP()
	if err != nil {
		e.note("%s: warning: %v", img.name, err)
		return
	}
	switch st.State {
	case ext4fs.MMPInUse, ext4fs.MMPFsck:
		e.note("%s: warning: %s", img.name, st)
	}
}

// closeImages ends the use of everything that open opened.
func (e *env) closeImages() error {
	if e.images == nil {
		return nil
	}
	var all error
	for _, img := range e.images.list {
		if err := img.fs.Close(); err != nil {
			all = errors.Join(all, at(img.name, "", err))
		}
	}
	if e.images.journal != nil {
		all = errors.Join(all, e.images.journal.Close())
	}
	e.images = nil
	return all
}
