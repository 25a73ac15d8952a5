package main

import (
	"context"
	"errors"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/format"
)

// maker is what is planned: a file system, or an external journal.
type maker interface {
	// Size is in bytes.
	Size() int64
	// Super is the superblock as far as it is known before it is written.
	Super() disk.Superblock
	make(ctx context.Context, w device.Writer) error
}

// fsMaker makes a file system.
type fsMaker struct{ *format.Job }

func (m fsMaker) make(ctx context.Context, w device.Writer) error {
	_, err := m.Write(ctx, w)
	return err
}

// journalMaker makes an external journal.
type journalMaker struct {
	o  format.Options
	sb disk.Superblock
}

func (m *journalMaker) Size() int64 { return int64(m.sb.Blocks()) * int64(m.sb.BlockSize()) }

func (m *journalMaker) Super() disk.Superblock { return m.sb }

func (m *journalMaker) make(ctx context.Context, w device.Writer) error {
	return format.FormatJournal(ctx, w, m.o)
}

// wantsJournalDevice reports whether -O journal_dev is asked for.
func wantsJournalDevice(o *format.Options) bool {
	wanted := false
	for _, word := range o.Features {
		switch strings.ToLower(strings.TrimPrefix(word, "+")) {
		case "journal_dev":
			wanted = true
		case "^journal_dev", "-journal_dev", "none":
			wanted = false
		}
	}
	return wanted
}

// planJournal makes the journal in memory, where it takes two blocks: that
// tells what it will be.
func (e *env) planJournal(f format.Options) (maker, error) {
	if f.Size <= 0 {
		return nil, &format.OptionError{Option: "size", Reason: "a journal wants a number"}
	}
	trial := f
	trial.Zeroed = true
	ram := device.NewRAM(f.Size)
	if err := format.FormatJournal(e.ctx, ram, trial); err != nil {
		return nil, err
	}
	m := &journalMaker{o: f}
	b := make([]byte, disk.SuperblockSize)
	if _, err := ram.ReadAt(b, disk.SuperblockOffset); err != nil {
		return nil, err
	}
	if err := m.sb.Decode(b); err != nil {
		return nil, err
	}
	m.o.UUID = &m.sb.UUID
	return m, nil
}

// openJournal opens the external journal that -J device= names. Its Close is
// the caller's; nil is none.
func (e *env) openJournal(o *mkfsOptions) (*device.Image, error) {
	j := &o.format.Journal
	if j.DeviceName == "" {
		return nil, nil
	}
	img, err := device.OpenContext(e.ctx, j.DeviceName, device.Options{
		Write: !o.dry, NoLock: o.dry, NoContainers: true, Partition: "@0",
	})
	if err != nil {
		return nil, at(j.DeviceName, "", err)
	}
	found, err := format.ReadJournalDevice(img)
	if err != nil {
		var corrupt *disk.CorruptError
		if errors.As(err, &corrupt) {
			err = errors.New("is no external journal: make one with -O journal_dev")
		}
		img.Close()
		return nil, at(j.DeviceName, "", err)
	}
	if major, minor, ok := deviceNumber(j.DeviceName); ok {
		found.Dev = format.EncodeDev(major, minor)
	}
	j.Device = &found
	return img, nil
}
