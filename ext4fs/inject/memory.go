package inject

import "sync"

// memoryPiece is the size of the pieces that memory is made of.
const memoryPiece = 256 << 10

var memoryPieces = sync.Pool{New: func() any { return new([memoryPiece]byte) }}

// memory is where the small files of a batch are read to. What it gave out is
// invalid after free.
type memory struct {
	pieces []*[memoryPiece]byte
	rest   []byte // of the last one
}

// space returns n bytes, of any content, of which keep has to be called with
// what is used. Large requests get memory of their own.
func (m *memory) space(n int) []byte {
	if n > memoryPiece {
		return make([]byte, n)
	}
	if n > len(m.rest) {
		p := memoryPieces.Get().(*[memoryPiece]byte)
		m.pieces = append(m.pieces, p)
		m.rest = p[:]
	}
	return m.rest[:n:n]
}

// keep makes the first n bytes of what space returned last stay as they are.
func (m *memory) keep(n int) {
	if n <= len(m.rest) {
		m.rest = m.rest[n:]
	}
}

// free lets the memory be used again.
func (m *memory) free() {
	for _, p := range m.pieces {
		memoryPieces.Put(p)
	}
	*m = memory{}
}
