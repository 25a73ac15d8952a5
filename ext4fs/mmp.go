package ext4fs

import (
	"fmt"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// MMPState says what the multiple mount protection block tells of the image's
// users.
type MMPState int

// States of the protection block.
const (
	MMPNone    MMPState = iota // the feature is off
	MMPClean                   // nobody has it in use
	MMPInUse                   // a host has it mounted, or died with it mounted
	MMPFsck                    // a checker has it in use
	MMPUnknown                 // the block holds no sequence that is known
)

// String names the state.
func (s MMPState) String() string {
	switch s {
	case MMPNone:
		return "none"
	case MMPClean:
		return "clean"
	case MMPInUse:
		return "in use"
	case MMPFsck:
		return "being checked"
	}
	return "unknown"
}

// MMPStatus says whether another host has the image in use. A record that is
// older than its check interval allows was left by a host that died; reading
// one block once cannot tell that for sure, so State stays MMPInUse.
type MMPStatus struct {
	State    MMPState
	Node     string // host
	Device   string // device name there
	Updated  time.Time
	Interval time.Duration
	Seq      uint32
}

// String is a sentence for a warning.
func (s MMPStatus) String() string {
	if s.State == MMPNone || s.State == MMPClean {
		return s.State.String()
	}
	return fmt.Sprintf("%s by host %q on device %q, last update %s",
		s.State, s.Node, s.Device, s.Updated.UTC().Format(time.RFC3339))
}

// MMP reads the multiple mount protection block from the device, past the
// cache, since other hosts write it. The record is not covered by the journal.
func (f *FS) MMP() (MMPStatus, error) {
	if !f.super.Features.Incompat.Has(disk.IncompatMMP) {
		return MMPStatus{State: MMPNone}, nil
	}
	block := f.super.MMPBlock
	if uint64(block) >= f.super.Blocks() || uint64(block) < uint64(f.super.FirstDataBlock) || block == 0 {
		return MMPStatus{State: MMPUnknown}, &CorruptError{What: "MMP block", Block: block, Detail: "outside the file system"}
	}
	b := make([]byte, disk.MMPSize)
	if err := device.ReadFull(f.base, b, int64(block)*int64(f.BlockSize())); err != nil {
		return MMPStatus{State: MMPUnknown}, fmt.Errorf("read MMP block %d: %w", block, err)
	}
	var m disk.MMP
	if err := m.Decode(b); err != nil {
		return MMPStatus{State: MMPUnknown}, err
	}
	if stored, computed := disk.VerifyMMP(f.seed, b); f.verify() && stored != computed {
		return MMPStatus{State: MMPUnknown}, &ChecksumError{What: "MMP block", Block: block, Stored: stored, Computed: computed}
	}
	return mmpStatus(&m), nil
}

// mmpStatus is what a record says.
func mmpStatus(m *disk.MMP) MMPStatus {
	st := MMPStatus{
		State: MMPInUse, Node: m.Node, Device: m.Device, Seq: m.Seq,
		Updated: time.Unix(int64(m.Time&(1<<40-1)), 0), Interval: time.Duration(m.CheckInterval) * time.Second,
	}
	switch {
	case m.Seq == disk.MMPClean:
		st.State = MMPClean
	case m.Seq == disk.MMPFsck:
		st.State = MMPFsck
	case m.Seq == 0 || m.Seq > disk.MMPMaxSeq:
		st.State = MMPUnknown
	}
	return st
}
