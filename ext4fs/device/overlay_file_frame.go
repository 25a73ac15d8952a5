package device

import (
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// overlayFrame is where one of the two pages of a frame is written next.
type overlayFrame struct {
	number   uint32
	sequence uint64 // of the page that counts; 0 if none was written
}

// at is where a page of the frame lies: of the two the one of that sequence
// number.
func (f *overlayFrame) at(sequence uint64) int64 {
	return (int64(f.number)*2 + int64(sequence&1)) * overlayPage
}

// write writes over the older page. The caller flushes before the next write:
// of the two pages one is always whole.
func (f *overlayFrame) write(w Writer, page []byte) error {
	next := f.sequence + 1
	le.PutUint64(page, next)
	le.PutUint32(page[8:], f.number)
	le.PutUint32(page[12:], 0)
	le.PutUint32(page[12:], disk.Sum(^uint32(0), page))
	n, err := w.WriteAt(page, f.at(next))
	if err == nil && n < len(page) {
		err = io.ErrShortWrite
	}
	if err == nil {
		f.sequence = next
	}
	return err
}

// read returns the page that counts, nil if none was ever written; and whether
// one of the two is damaged, as after a crash.
func (f *overlayFrame) read(d Device) (page []byte, torn bool, err error) {
	both := make([]byte, 2*overlayPage)
	if n, err := d.ReadAt(both, f.at(0)); n < len(both) {
		return nil, false, unexpected(err)
	}
	bad, blank := 0, 0
	for slot := range uint64(2) {
		p := both[slot*overlayPage:][:overlayPage]
		if allZero(p) {
			blank++
			continue
		}
		sequence, sum := le.Uint64(p), le.Uint32(p[12:])
		le.PutUint32(p[12:], 0)
		if disk.Sum(^uint32(0), p) != sum || le.Uint32(p[8:]) != f.number || sequence&1 != slot || sequence == 0 || sequence > maxSequence {
			bad++
			continue
		}
		if sequence > f.sequence {
			page, f.sequence = p, sequence
		}
	}
	if bad == 2 {
		return nil, true, &FormatError{Format: overlayFormat, Offset: f.at(0), Detail: fmt.Sprintf("both copies of page %d are damaged", f.number)}
	}
	return page, bad > 0, nil
}

const overlayFormat = "overlay"

// maxSequence is more than there ever is: the next one does not overflow.
const maxSequence = 1 << 62

// loadIndex reads the index. What the file does not know as data is skipped.
func (o *OverlayFile) loadIndex() error {
	sum, torn := uint64(0), false
	for k := int64(0); k < int64(len(o.pages)); k++ {
		f := overlayFrame{number: uint32(k) + 1}
		r, err := NextData(o.store, f.at(0))
		if err != nil {
			return err
		}
		if skip := r.Off/(2*overlayPage) - 1; r.N == 0 || skip >= int64(len(o.pages)) {
			break
		} else if skip > k {
			k = skip
			f.number = uint32(k) + 1
		}
		page, damaged, err := f.read(o.store)
		if err != nil {
			return err
		}
		torn = torn || damaged
		if page == nil {
			continue
		}
		sum += f.sequence
		if err := o.take(k, f, page); err != nil {
			return err
		}
	}
	if o.head.state == overlayClean && (torn || sum != o.head.sum) {
		return &FormatError{Format: overlayFormat, Detail: "the index is damaged: the file was closed in good order, and pages of it are not as they were then"}
	}
	return nil
}

// take keeps a page of the index.
func (o *OverlayFile) take(k int64, f overlayFrame, page []byte) error {
	p := &overlayIndex{frame: f}
	count, last := int64(0), int64(-1)
	for i := range p.words {
		w := le.Uint64(page[overlayHead+8*i:])
		p.words[i].Store(w)
		p.kept[i].Store(w)
		for bit := range int64(64) {
			if w>>bit&1 != 0 {
				count++
				last = k*overlayBits + int64(i)*64 + bit
			}
		}
	}
	if last >= 0 && last*overlayChunk >= o.size {
		return &FormatError{Format: overlayFormat, Offset: f.at(f.sequence), Detail: fmt.Sprintf("chunk %d is behind the end of the image", last)}
	}
	o.chunks.Add(count)
	o.pages[k].Store(p)
	return nil
}

// sequences is the sum of the sequence numbers of the index.
func (o *OverlayFile) sequences() uint64 {
	sum := uint64(0)
	for k := range o.pages {
		if p := o.pages[k].Load(); p != nil {
			sum += p.frame.sequence
		}
	}
	return sum
}
