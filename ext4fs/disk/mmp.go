package disk

import "fmt"

// Values of MMP.Seq.
const (
	MMPMagic  uint32 = 0x004D4D50
	MMPMaxSeq uint32 = 0xE24D4D4F // highest sequence of a live owner
	MMPFsck   uint32 = 0xE24D4D50 // a checker holds the file system
	MMPClean  uint32 = 0xFF4D4D50 // nobody holds it
)

// MMPSize is the size of the MMP record at the start of its block.
const MMPSize = 1024

// MMP is the multiple mount protection record: who has the file system in use.
type MMP struct {
	Magic         uint32
	Seq           uint32
	Time          uint64 // seconds since 1970 of the last update
	Node          string // host name of the owner
	Device        string // device name on that host
	CheckInterval uint16 // seconds
	Checksum      uint32
}

// Decode reads the record; it fails on a short buffer or a wrong magic.
func (m *MMP) Decode(b []byte) error {
	if len(b) < MMPSize {
		return &CorruptError{What: "MMP block", Detail: fmt.Sprintf("%d bytes", len(b))}
	}
	if magic := le.Uint32(b); magic != MMPMagic {
		return &CorruptError{What: "MMP block", Detail: fmt.Sprintf("magic 0x%08x, want 0x%08x", magic, MMPMagic)}
	}
	*m = MMP{
		Magic: le.Uint32(b), Seq: le.Uint32(b[4:]), Time: le.Uint64(b[8:]),
		Node: CString(b[0x10:0x50]), Device: CString(b[0x50:0x70]),
		CheckInterval: le.Uint16(b[0x70:]), Checksum: le.Uint32(b[0x3fc:]),
	}
	return nil
}

// VerifyMMP compares the checksum of an MMP block.
func VerifyMMP(seed uint32, b []byte) (stored, computed uint32) {
	return le.Uint32(b[0x3fc:]), Sum(seed, b[:0x3fc])
}
