package disk

// Encode writes the record into b, an MMP block of at least MMPSize bytes, and
// leaves alone what it does not know. Names that are too long are cut. The
// checksum is SealMMP's.
func (m *MMP) Encode(b []byte) {
	le.PutUint32(b[0x00:], m.Magic)
	le.PutUint32(b[0x04:], m.Seq)
	le.PutUint64(b[0x08:], m.Time)
	putName(b[0x10:0x50], m.Node)
	putName(b[0x50:0x70], m.Device)
	le.PutUint16(b[0x70:], m.CheckInterval)
}

// putName fills a field with a name and zeros.
func putName(field []byte, name string) {
	n := copy(field, name)
	clear(field[n:])
}

// SealMMP computes the checksum of an MMP block.
func SealMMP(seed uint32, b []byte) { le.PutUint32(b[0x3fc:], Sum(seed, b[:0x3fc])) }
