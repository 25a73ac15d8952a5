package main

import (
	"errors"
	"reflect"

	"github.com/e4kit/e4kit/dump"
	"github.com/e4kit/e4kit/ext4fs/device"
)

// dumpRun is a dump of one image.
type dumpRun struct {
	e       *env
	name    string
	path    string // of the file that it is about now
	im      *dump.Image
	damaged bool
}

// emit prints a structure, or returns its error with the image's name.
func (d *dumpRun) emit(v dump.Value, err error) error {
	if err != nil {
		return at(d.name, d.path, err)
	}
	d.e.did()
	d.damaged = d.damaged || hasProblems(v)
	if d.e.json {
		return d.e.writeJSON(v)
	}
	return v.WriteText(d.e.writer())
}

// hasProblems reports whether a structure says that something is wrong with
// it.
func hasProblems(v dump.Value) bool {
	s := reflect.Indirect(reflect.ValueOf(v))
	if s.Kind() != reflect.Struct {
		return false
	}
	f := s.FieldByName("Problems")
	return f.IsValid() && f.Len() > 0
}

// withDump opens an image as far as it can be opened, and shows notes about
// that.
func (e *env) withDump(name string, run func(*dumpRun) error) error {
	if e.images == nil {
		e.images = &images{}
	}
	im, dev, err := e.openDump(name)
	if err != nil {
		return err
	}
	defer func() {
		e.dropImage(name)
		im.Close()
		dev.Close()
	}()
	for _, n := range im.Notes() {
		e.note("%s: %s", name, n)
	}
	if fsys := im.FS(); fsys != nil {
		// Paths are resolved in the same, tolerant view.
		img := &image{name: name, fs: fsys}
		e.images.list = append(e.images.list, img)
		e.warnInUse(img)
	}
	d := &dumpRun{e: e, name: name, im: im}
	if err := run(d); err != nil {
		return err
	}
	if d.damaged {
		return statusError(exitCorrupt)
	}
	return nil
}

func (e *env) dropImage(name string) {
	for i, img := range e.images.list {
		if img.name == name {
			e.images.list = append(e.images.list[:i], e.images.list[i+1:]...)
			return
		}
	}
}

func (e *env) openDump(name string) (*dump.Image, *device.Image, error) {
	o, err := e.openOptions()
	if err != nil {
		return nil, nil, err
	}
	dev, err := device.Open(name, o.Device)
	if err != nil && o.Device.Partition == "" {
		// What does not look like a file system may be a damaged one.
		whole, wholeErr := device.Open(name, device.Options{Partition: "@0"})
		if wholeErr == nil {
			if im, wholeErr := dump.Open(whole, o); wholeErr == nil {
				return im, whole, nil
			}
			err = errors.Join(err, whole.Close())
		}
	}
	if err != nil {
		return nil, nil, at(name, "", err)
	}
	im, err := dump.Open(dev, o)
	if err != nil {
		return nil, nil, errors.Join(at(name, "", err), dev.Close())
	}
	return im, dev, nil
}
