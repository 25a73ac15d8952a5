package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/mount"
)

// mountImage is an image that is opened to be mounted, with what belongs to it.
type mountImage struct {
	fs       *ext4fs.FS
	dev      *device.Image
	over     *device.OverlayFile // nil without one
	lockFile string
	closing  sync.Once
}

// mountOpen opens the image as the options say. A signal ends the opening, but
// not what follows.
func (e *env) mountOpen(r *mountRun, log *slog.Logger) (*mountImage, error) {
	o := &r.options
	if o.NoLoad {
		o.ReadOnly = true
	}
	if r.overlay != "" && o.NoLoad {
		return nil, e.usagef("--overlay and -o noload exclude each other")
	}
	if o.FSName == "" {
		o.FSName = r.image
	}
	if o.Subtype == "" {
		o.Subtype = "e4kit"
	}
	o.Logger, o.Trace = log, r.trace
	boundServing()
	if !o.ReadOnly {
		boundWriting()
	}
	m := &mountImage{}
	if err := m.takeLockFile(o.LockFile); err != nil {
		return nil, err
	}
	err := e.openFree(m, r, log)
	if protected := (*protectedError)(nil); errors.As(err, &protected) && !o.ReadWrite {
		log.Warn("the image is write-protected and mounted read-only", "image", r.image, "error", protected.error)
		if !r.foreground {
			e.note("%s: warning: it is write-protected and mounted read-only", r.image)
		}
		o.ReadOnly = true
		if err = e.closeImages(); err == nil { // an external journal
			err = e.openFree(m, r, log)
		}
	}
	if err != nil {
		m.close()
		return nil, mountError(r, err)
	}
	e.mountTold(m, r, log)
	return m, nil
}

// protectedError is that of an image that cannot be opened for writing, and perhaps
// for reading.
type protectedError struct{ error }

func (e *protectedError) Unwrap() error { return e.error }

// openFree is openMount that waits for servers which close the image just now.
func (e *env) openFree(m *mountImage, r *mountRun, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(e.ctx, maxServerEnd)
	defer cancel()
	for {
		err := e.openMount(m, r, log)
		if !errors.Is(err, device.ErrBusy) || !e.awaitServer(ctx, err) {
			return err
		}
		log.Info("waited for the server of a mount that is gone", "image", r.image, "was", err)
		if again := errors.Join(m.dropDevice(), e.closeImages()); again != nil {
			return errors.Join(err, again)
		}
	}
}

// dropDevice closes what was opened in vain.
func (m *mountImage) dropDevice() error {
	err := m.closeDevice()
	m.over, m.dev = nil, nil
	return err
}

// openMount opens device, overlay and file system.
func (e *env) openMount(m *mountImage, r *mountRun, log *slog.Logger) error {
	o := &r.options
	e.images = &images{} // keeps the external journal
	e.writes = !o.ReadOnly
	opts, err := e.openOptions()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.ctx))
	stop := context.AfterFunc(e.ctx, cancel)
	opts.Device.Write = !o.ReadOnly && r.overlay == ""
	// The kernel keeps what it has read of the mount, and need not keep it of the
	// image as well.
	opts.Device.Direct = device.DirectStreams
	if o.DirectIO {
		opts.Device.Direct = device.DirectAlways
	}
	if m.dev, err = device.OpenContext(ctx, r.image, opts.Device); err != nil {
		if opts.Device.Write && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
			err = &protectedError{err}
		}
		return err
	}
	if !opts.Device.Write {
		if err := unchanging(m.dev); err != nil {
			return err
		}
	}
	var dev device.Device = m.dev
	if r.overlay != "" {
		if m.over, err = device.OpenOverlay(r.overlay, m.dev); err != nil {
			return err
		}
		dev = m.over
	}
	opts.Write, opts.Context, opts.Clock = !o.ReadOnly, ctx, mount.Clock
	opts.DataMode, opts.CommitInterval, opts.Discard, opts.EnforceQuotas = o.Data, o.CommitInterval, o.Discard, o.Quota
	if opts.Write {
		opts.MountPoint = r.dir
	}
	opts.OnAbort = func(err error) {
		log.Error("nothing can be changed any more; the next mount recovers what was durable", "image", r.image, "error", err)
	}
	if m.fs, err = ext4fs.Open(dev, opts); err != nil {
		return err
	}
	if !stop() {
		return e.ctx.Err() // the signal came meanwhile
	}
	return m.unshared()
}

// unchanging refuses an image that is to be read only and that the kernel
// writes to: what is read once is kept.
func unchanging(dev *device.Image) error {
	busy := &device.BusyError{Path: dev.Path()}
	for _, u := range dev.InUse() {
		if !u.ReadOnly {
			busy.Uses = append(busy.Uses, u)
		}
	}
	if len(busy.Uses) == 0 {
		return nil
	}
	return busy
}

// unshared refuses an image that another host writes to; whoever opens for
// writing has asked already.
func (m *mountImage) unshared() error {
	if m.fs.Writable() {
		return nil
	}
	st, err := m.fs.MMP()
	if err != nil {
		return err
	}
	switch st.State {
	case ext4fs.MMPInUse, ext4fs.MMPFsck:
		return errors.New(st.String())
	}
	return nil
}

// mountError says what would help, where something does.
func mountError(r *mountRun, err error) error {
	hint := ""
	var base *device.OverlayBaseError
	var commit *device.OverlayCommitError
	switch {
	case errors.As(err, &base), errors.Is(err, device.ErrBusy):
	case errors.As(err, &commit) && commit.Complete:
		hint = "remove it, or give another --overlay"
	case errors.As(err, &commit):
		hint = "complete it with 'e4kit commit-overlay'"
	case errors.Is(err, device.ErrManyPartitions):
		hint = "take one with --partition"
	case errors.Is(err, fs.ErrNotExist):
		hint = ""
	case r.options.ReadOnly || r.overlay != "":
	case errors.As(err, new(*protectedError)), errors.Is(err, fs.ErrPermission), errors.Is(err, ext4fs.ErrReadOnly),
		errors.As(err, new(*device.UnsupportedError)):
		hint = "with -o ro it can be read, and with --overlay FILE changed"
	}
	if hint != "" {
		err = &hinted{err, hint}
	}
	return at(r.image, "", err)
}

// hinted is an error with advice.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return cause(h.err, pathOf(h.err)) + "; " + h.hint }

func (h *hinted) Unwrap() error { return h.err }

// pathOf is the path that an error repeats.
func pathOf(err error) string {
	if pe, ok := err.(*fs.PathError); ok {
		return pe.Path
	}
	return ""
}

// takeLockFile makes the file that says that the image is in use, as fuse2fs
// does: it must not be there.
func (m *mountImage) takeLockFile(name string) error {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return at(name, "", fmt.Errorf("the lock file is there, so somebody uses the image: %w", fs.ErrExist))
		}
		return at(name, "", err)
	}
	m.lockFile = name
	return f.Close()
}

// mountTold tells of what the opening has found.
func (e *env) mountTold(m *mountImage, r *mountRun, log *slog.Logger) {
	rec := newRecovered(r.image, m.fs.Recovered())
	if rec.Needed || rec.OrphansDeleted+rec.OrphansTruncated > 0 {
		log.Info(rec.String(), "image", r.image)
	}
	if j := m.fs.Recovery(); !m.fs.Writable() && j != nil && j.Needed {
		log.Info("the journal is replayed in memory; the image keeps it", "image", r.image, "transactions", len(j.Transactions))
	}
}

// asDevice is the block device that the file system is on, nil if it is on a file,
// in a partition of it, or an overlay takes what is written.
func (m *mountImage) asDevice() *mount.Device {
	if m.over != nil || !m.dev.Claimed() || m.dev.Offset() != 0 || m.dev.Size() != m.dev.Disk().Size() {
		return nil
	}
	return &mount.Device{Path: m.dev.Path(), Yield: m.dev.Yield, Reclaim: m.dev.Reclaim, Close: m.close}
}

// close closes everything, once, so that the image can be used by others.
func (m *mountImage) close() error {
	var err error
	m.closing.Do(func() { err = m.closeAll() })
	return err
}

func (m *mountImage) closeAll() error {
	var all error
	if m.fs != nil {
		all = m.fs.Close()
	}
	all = errors.Join(all, m.closeDevice())
	if m.lockFile != "" {
		all = errors.Join(all, os.Remove(m.lockFile))
	}
	return all
}

// closeDevice closes what the file system is, or was to be, on.
func (m *mountImage) closeDevice() error {
	var all error
	if m.over != nil {
		all = m.over.Close()
	}
	if m.dev != nil {
		all = errors.Join(all, m.dev.Close())
	}
	return all
}

// close closes the image, and lets those know who wait for it.
func (s *mountServer) close() error {
	err := s.mountImage.close()
	s.closeErr = err
	close(s.closed)
	return err
}
