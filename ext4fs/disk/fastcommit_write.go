package disk

import "fmt"

// FCWriter lays out one fast commit: records in order, padded so that none
// crosses a block's end, and the TAIL that fills the last block. The zero value
// with a BlockSize is ready.
type FCWriter struct {
	BlockSize int
	b         []byte
	sum       uint32
}

// room is what the last block has left.
func (w *FCWriter) room() int { return w.BlockSize - len(w.b)%w.BlockSize }

func (w *FCWriter) append(r FCRecord) {
	at := len(w.b)
	w.b = AppendFC(w.b, r)
	w.sum = FCSum(w.sum, FCRaw{Tag: r.Tag(), Bytes: w.b[at:]})
}

// Add appends a record. It fails if the record is longer than a block can
// hold; room for the header of a PAD is always kept.
func (w *FCWriter) Add(r FCRecord) error {
	size := len(AppendFC(nil, r))
	if size+FCRecordHeaderSize > w.BlockSize {
		return fmt.Errorf("fast-commit record of %d bytes does not fit into a block", size)
	}
	w.fit(size + FCRecordHeaderSize)
	w.append(r)
	return nil
}

// fit pads the last block if it has no room for size bytes.
func (w *FCWriter) fit(size int) {
	if w.room() < size {
		w.append(&FCPad{Len: w.room() - FCRecordHeaderSize})
	}
}

// Finish ends the fast commit of a transaction and returns its blocks. The
// writer is empty again after that.
func (w *FCWriter) Finish(transaction uint32) []byte {
	w.fit(FCRecordHeaderSize + fcTailSize)
	at, sum := len(w.b), w.sum
	w.append(&FCTail{Transaction: transaction, Len: w.room() - FCRecordHeaderSize})
	b := w.b
	SealFCTail(b[at:], sum)
	*w = FCWriter{BlockSize: w.BlockSize}
	return b
}
