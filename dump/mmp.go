package dump

import (
	"errors"
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ErrNoMMP: the file system has no multiple mount protection.
var ErrNoMMP = errors.New("the mmp feature is off")

// MMP is the multiple mount protection block.
type MMP struct {
	Type          string   `json:"type"`
	Block         uint64   `json:"block" text:"Block"`
	Magic         uint32   `json:"magic" text:"Magic,hex"`
	Sequence      uint32   `json:"sequence" text:"Sequence,hex"`
	State         string   `json:"state" text:"State"`
	Time          Time     `json:"time" text:"Last update"`
	Node          string   `json:"node" text:"Host"`
	Device        string   `json:"device" text:"Device"`
	CheckInterval uint32   `json:"check_interval" text:"Check interval (s)"`
	Checksum      Checksum `json:"checksum" text:"Checksum"`
	Problems      []string `json:"problems,omitempty"`
}

// MMP returns the multiple mount protection block, as it lies on the device.
func (im *Image) MMP() (*MMP, error) {
	if !im.super.Features.Incompat.Has(disk.IncompatMMP) {
		return nil, ErrNoMMP
	}
	if err := im.geometry(); err != nil {
		return nil, err
	}
	block := im.super.MMPBlock
	if block <= disk.BlockNum(im.super.FirstDataBlock) || uint64(block) >= im.super.Blocks() {
		return nil, &disk.CorruptError{What: "MMP block", Block: block, Detail: "outside the file system"}
	}
	b := make([]byte, disk.MMPSize)
	if err := device.ReadFull(im.base, b, int64(block)*int64(im.blockSize())); err != nil {
		return nil, fmt.Errorf("read MMP block %d: %w", block, err)
	}
	return im.newMMP(b, block), nil
}

func (im *Image) newMMP(b []byte, block disk.BlockNum) *MMP {
	v := &MMP{Type: "mmp", Block: uint64(block), Magic: le.Uint32(b)}
	stored, computed := disk.VerifyMMP(im.seed, b)
	v.Checksum = newChecksum(im.csum, stored, computed)
	var m disk.MMP
	if err := m.Decode(b); err != nil {
		v.Problems = append(v.Problems, problem(err))
		return v
	}
	v.Sequence, v.Time, v.CheckInterval = m.Seq, newTime(m.Time), uint32(m.CheckInterval)
	v.Node, v.Device = validText([]byte(m.Node)), validText([]byte(m.Device))
	switch {
	case m.Seq == disk.MMPClean:
		v.State = "clean"
	case m.Seq == disk.MMPFsck:
		v.State = "being checked"
	case m.Seq == 0 || m.Seq > disk.MMPMaxSeq:
		v.State = "unknown"
	default:
		v.State = "in use"
	}
	return v
}

// WriteText writes all fields, one a line.
func (v *MMP) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.fields(v)
		p.problems(v.Problems)
	})
}
